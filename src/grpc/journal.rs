//! Log lines about streams: peer, method, duration and status.
//!
//! Streams are logged at info, at most `LINES` lines a second; the rest is counted, and
//! the thread "stream-log" logs the counts. When the level is off, nothing is looked up
//! or formatted.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use tracing::Level;

use super::STACK_BYTES;
use super::meter::{Call, outcome};
use crate::error::{Code, Error};
use crate::retry::supervised;
use crate::throttle::{Admission, Throttle};

/// Most lines about streams in a second.
const LINES: u32 = 20;

/// What happens to a stream; each kind is counted by itself.
#[derive(Clone, Copy)]
enum Event {
    Opened,
    Ended,
    Refused,
    /// Ended as a slow consumer.
    Cut,
}

/// The log of all streams of a process.
pub(super) struct Journal {
    throttle: Throttle<4>,
    /// Tells the thread when to log the counts.
    due: Sender<Instant>,
}

impl Journal {
    /// Starts the thread "stream-log", which ends with the journal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        // One place: only the first line that is counted in a second asks.
        let (due, waiting) = bounded::<Instant>(1);
        let journal = Arc::new(Self {
            throttle: Throttle::new(LINES),
            due,
        });
        let weak = Arc::downgrade(&journal);
        let thread = thread::Builder::new().name("stream-log".into());
        let mut work = move || {
            for due in &waiting {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if let Some(journal) = weak.upgrade() {
                    journal.log_withheld();
                }
            }
        };
        let thread = thread.stack_size(STACK_BYTES);
        thread.spawn(move || supervised(&mut work))?;
        Ok(journal)
    }

    /// Log entry for a stream of this name; `None` if streams are neither logged
    /// nor counted.
    pub(super) fn stream_log(
        self: &Arc<Self>,
        stream: &str,
        call: Option<Call>,
    ) -> Option<Arc<StreamLog>> {
        let (journal, stream) = (self.clone(), stream.into());
        call.map(|call| {
            Arc::new(StreamLog {
                journal,
                stream,
                call,
            })
        })
    }

    /// Whether the event may be written; otherwise it is counted.
    fn admits(&self, event: Event) -> bool {
        match self.throttle.admit(event as usize, Instant::now()) {
            Admission::Write => true,
            Admission::Count(due) => {
                if let Some(due) = due {
                    // Full: the thread is about to log them.
                    let _ = self.due.try_send(due);
                }
                false
            }
        }
    }

    /// Logs how many streams had no line of their own.
    pub(super) fn log_withheld(&self) {
        let what = "more streams within a second";
        match self.throttle.take_withheld() {
            None => {}
            Some([opened, ended, refused, 0]) => {
                tracing::info!(opened, ended, refused, "{what}");
            }
            Some([opened, ended, refused, cut]) => {
                tracing::warn!(opened, ended, refused, cut, "{what}");
            }
        }
    }
}

/// One stream as the log shows it: name, method, peer and duration.
pub struct StreamLog {
    journal: Arc<Journal>,
    stream: String,
    call: Call,
}

impl StreamLog {
    /// The stream's name, which is its thread's too.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Address and port of the client, or of the proxy in front of it.
    pub fn peer(&self) -> &str {
        &self.call.peer
    }

    pub(super) fn opened(&self) {
        if tracing::enabled!(Level::INFO) && self.journal.admits(Event::Opened) {
            let Call { method, peer, .. } = &self.call;
            tracing::info!(stream = self.stream, method, peer, "stream opened");
        }
    }

    /// So many messages more were handed to the transport.
    pub(super) fn sent(&self, messages: u64) {
        if let Some(meter) = &self.call.meter {
            meter.sent.inc_by(messages);
        }
    }

    pub(super) fn refused(&self, error: &Error) {
        self.call.answered(Some(error), Some(0));
        if tracing::enabled!(Level::INFO) && self.journal.admits(Event::Refused) {
            let Call { method, peer, .. } = &self.call;
            let (status, error) = outcome(Some(error));
            tracing::info!(method, peer, status, error, "stream refused");
        }
    }

    /// `messages` is how many the transport has taken.
    pub(super) fn ended(&self, end: &Result<(), Error>, messages: u64) {
        self.call.answered(end.as_ref().err(), Some(messages));
        if !tracing::enabled!(Level::INFO) || !self.journal.admits(Event::Ended) {
            return;
        }
        let (stream, Call { method, peer, .. }) = (&self.stream, &self.call);
        let (status, error) = outcome(end.as_ref().err());
        let took = self.call.since.elapsed();
        tracing::info!(
            stream,
            method,
            peer,
            status,
            error,
            messages,
            ?took,
            "stream ended"
        );
    }

    /// As [`StreamLog::ended`], for one whose backlog was full.
    pub(super) fn cut(&self, messages: u64) {
        let cut = Error::new(Code::ResourceExhausted, "slow consumer");
        self.call.answered(Some(&cut), Some(messages));
        let (stream, Call { method, peer, .. }) = (&self.stream, &self.call);
        let took = self.call.since.elapsed();
        if self.journal.admits(Event::Cut) {
            let what = "slow consumer cut: its backlog was full";
            tracing::warn!(stream, method, peer, messages, ?took, "{what}");
        }
    }
}
