//! A page's stream of events: the source that the front reads on the connection's
//! thread ("http-conn-N"), which blocks only here.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::event::Event;
use super::hub::Page;
use crate::fanout::broadcast::Envelope;
use crate::http::{Next, Source};

/// Interval of beats, which tell page and proxies that the connection is alive.
const BEAT: Duration = Duration::from_secs(5);

/// Events that go out in one chunk.
const BATCH: usize = 32;

pub struct Events {
    page: Page,
    /// Something has arrived.
    rung: Receiver<()>,
    last_beat: Instant,
    /// Counts against the page's backlog until it is written.
    batch: Vec<Envelope<Event>>,
}

impl Events {
    pub fn new(page: Page) -> Self {
        let (ring, rung) = bounded(1);
        page.subscription.ring(Box::new(move || {
            // Room for one: a pending wakeup says the same.
            let _ = ring.try_send(());
        }));
        Self {
            page,
            rung,
            last_beat: Instant::now(),
            batch: Vec::new(),
        }
    }

    /// With the beat, which the page's first chunk has too.
    fn say(&mut self, mut text: String) -> Next {
        self.last_beat = Instant::now();
        text += &self.page.watch.hub.beat().text;
        Next::Chunk(text.into_bytes())
    }

    /// What has arrived for this page; empty if nothing has. `None` is the end:
    /// a page that was cut, or the console's own end.
    fn arrived(&mut self) -> Option<String> {
        let Page {
            subscription,
            watch,
            ..
        } = &mut self.page;
        loop {
            // The front asks for more when it has written the last chunk.
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
                Some(text) if self.last_beat.elapsed() >= BEAT => return self.say(text),
                Some(text) if !text.is_empty() => return Next::Chunk(text.into_bytes()),
                Some(_) => {}
            }
            let beat = BEAT.saturating_sub(self.last_beat.elapsed());
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            let _ = self.rung.recv_timeout(left.min(beat));
        }
    }
}
