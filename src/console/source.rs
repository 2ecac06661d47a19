//! A page's stream of events, as the front asks for it on the connection's
//! thread ("http-conn-N"), which waits here and nowhere else.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::event::{self, Event};
use super::hub::Page;
use crate::fanout::broadcast::Envelope;
use crate::http::{Next, Source};

/// Something is said at least so often, so that page and proxies know that the
/// connection lives.
const BEAT: Duration = Duration::from_secs(15);

/// Events that go out in one chunk.
const BATCH: usize = 32;

pub struct Events {
    page: Page,
    /// Something has arrived.
    rung: Receiver<()>,
    last_said: Instant,
    /// Counts against the page's backlog until it is written.
    batch: Vec<Envelope<Event>>,
}

impl Events {
    pub fn new(page: Page) -> Self {
        let (ring, rung) = bounded(1);
        page.subscription.ring(Box::new(move || {
            // A ring that waits already says the same.
            let _ = ring.try_send(());
        }));
        Self {
            page,
            rung,
            last_said: Instant::now(),
            batch: Vec::new(),
        }
    }

    fn say(&mut self, text: String) -> Next {
        self.last_said = Instant::now();
        Next::Chunk(text.into_bytes())
    }

    /// What has arrived for this page; empty if nothing has. `None` is the end:
    /// a page that was cut, or the console's own end.
    fn arrived(&mut self) -> Option<String> {
        let Page {
            subscription,
            membership,
            watch,
            ..
        } = &mut self.page;
        loop {
            // Whoever asks for more has written what there was.
            let bytes = self.batch.iter().map(|envelope| envelope.bytes).sum();
            membership.release(self.batch.len(), bytes);
            subscription.try_batch(&mut self.batch, BATCH).ok()?;
            let arrived = self.batch.iter().map(|envelope| &envelope.payload);
            let text: String = arrived
                .filter(|event| watch.wants(event))
                .map(|event| &*event.text)
                .collect();
            if !text.is_empty() || self.batch.is_empty() {
                return Some(text);
            }
        }
    }
}

impl Source for Events {
    fn next(&mut self, timeout: Duration) -> Next {
        if !self.page.first.is_empty() {
            let first = std::mem::take(&mut self.page.first).concat();
            return self.say(first);
        }
        let deadline = Instant::now() + timeout;
        loop {
            match self.arrived() {
                None => return Next::End,
                Some(text) if !text.is_empty() => return self.say(text),
                Some(_) => {}
            }
            let beat = BEAT.saturating_sub(self.last_said.elapsed());
            if beat.is_zero() {
                return self.say(event::beat().text.to_string());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            let _ = self.rung.recv_timeout(left.min(beat));
        }
    }
}
