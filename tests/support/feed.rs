//! A stream that a thread of its own reads, so that a test can wait for what
//! comes with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use futures_util::stream::AbortHandle;
use messenger::error::Error;

use super::SOON;

/// A message, or the end that the server gave: `None` is OK.
pub type Event<T> = Result<Option<T>, Error>;

/// What comes on one stream. Dropping it cancels the call.
pub struct Feed<T> {
    events: Receiver<Event<T>>,
    abort: AbortHandle,
}

impl<T: Send + 'static> Feed<T> {
    /// Calls `receive` until the stream ends, which `abort` brings about.
    pub fn start(abort: AbortHandle, receive: impl FnMut() -> Event<T> + Send + 'static) -> Self {
        Self::over(unbounded(), abort, receive)
    }

    /// The same, but at most one event ahead of who polls: what comes meanwhile stays
    /// with the C core.
    pub fn start_lazy(
        abort: AbortHandle,
        receive: impl FnMut() -> Event<T> + Send + 'static,
    ) -> Self {
        Self::over(bounded(0), abort, receive)
    }

    fn over(
        (sender, events): (Sender<Event<T>>, Receiver<Event<T>>),
        abort: AbortHandle,
        mut receive: impl FnMut() -> Event<T> + Send + 'static,
    ) -> Self {
        thread::spawn(move || {
            loop {
                let event = receive();
                let over = !matches!(event, Ok(Some(_)));
                if sender.send(event).is_err() || over {
                    return;
                }
            }
        });
        Self { events, abort }
    }

    pub fn event(&self) -> Event<T> {
        let event = self.events.recv_timeout(SOON);
        event.expect("a message or the end in time")
    }

    /// What comes within so long.
    pub fn poll(&self, within: Duration) -> Option<Event<T>> {
        self.events.recv_timeout(within).ok()
    }

    pub fn next(&self) -> T {
        let event = self.event().expect("a message, not an end");
        event.expect("a message, not the end")
    }

    /// All that is left, and the end.
    pub fn rest(&self, within: Duration) -> (Vec<T>, Result<(), Error>) {
        let deadline = Instant::now() + within;
        let mut rest = Vec::new();
        loop {
            match self.events.recv_deadline(deadline) {
                Ok(Ok(Some(message))) => rest.push(message),
                Ok(Ok(None)) => return (rest, Ok(())),
                Ok(Err(end)) => return (rest, Err(end)),
                Err(_) => panic!("the stream did not end within {within:?}"),
            }
        }
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
