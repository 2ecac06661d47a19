//! Requests that wait before their lane (long polling): for something that their
//! handler could not wait for without holding up all others.
//!
//! Owns the count of them and what ends a wait. It must not know what is waited for
//! ([`Line`]). The thread of the client's connection runs it and waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::gate::{Asked, Pass};
use super::refusal::Refusal;
use super::socket::Socket;
use crate::trace;

/// How long to wait before checking whether the client has gone, its pass holds no
/// longer, or the front is stopping.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// Where requests line up before their lane.
pub trait Line: Send + Sync {
    /// A place at the end of the line; `None` for a request that does not wait. Never
    /// waits itself.
    fn join(&self, asked: &Asked<'_>) -> Option<Box<dyn Place>>;
}

/// A request's place. It is dropped when the handler has answered, or else when nobody
/// waits for an answer any more.
pub trait Place {
    /// Waits for the request's turn, `timeout` at most. Called again until it has come, and
    /// after [`Response::wait_again`](super::Response::wait_again).
    fn wait(&mut self, timeout: Duration) -> Turn;
}

/// Whether a request may go to its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// What it has waited for is there.
    Ready,
    /// Its time is over.
    Over,
    NotYet,
}

/// The lines of a front.
pub(super) struct Lines {
    line: Option<Arc<dyn Line>>,
    most: usize,
    waiting: AtomicUsize,
}

/// A request that waits, and is counted.
pub(super) struct Waiting<'a> {
    place: Box<dyn Place>,
    lines: &'a Lines,
}

impl Lines {
    /// At most half of the `connections` wait, so that others are always served.
    pub(super) fn new(line: Option<Arc<dyn Line>>, connections: usize) -> Lines {
        Lines {
            line,
            most: connections.div_ceil(2),
            waiting: AtomicUsize::new(0),
        }
    }

    /// `None` for a request that does not wait.
    pub(super) fn join(&self, asked: &Asked<'_>) -> Result<Option<Waiting<'_>>, Refusal> {
        let Some(place) = self.line.as_ref().and_then(|line| line.join(asked)) else {
            return Ok(None);
        };
        // Counted before the look, so that two cannot both take the last place.
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting { place, lines: self };
        if before < self.most {
            return Ok(Some(waiting));
        }
        let message = format!("over the limit of {} waiting requests", self.most);
        Err(Refusal::new(503, message))
    }
}

impl Waiting<'_> {
    /// Waits for the request's turn, and tells whether it is ready; a front that is
    /// `stopping` ends the wait. `again` asks for a new pass when the old one holds no longer.
    ///
    /// # Errors
    /// 499 for a client that has closed its side, and what `again` says.
    pub(super) fn wait(
        &mut self,
        client: &Socket<'_>,
        stopping: &AtomicBool,
        pass: &mut Pass,
        again: impl Fn() -> Result<Pass, Refusal>,
    ) -> Result<bool, Refusal> {
        let _span = trace::span("wait");
        client.keep_alive();
        loop {
            let turn = match stopping.load(Ordering::SeqCst) {
                true => Turn::Over,
                false => self.place.wait(LOOK_TIME),
            };
            if client.has_left() {
                let message = "the client closed its side while its request waited";
                return Err(Refusal::new(499, message));
            }
            if pass.as_ref().is_some_and(|holds| !holds()) {
                *pass = again()?;
            }
            if turn != Turn::NotYet {
                return Ok(turn == Turn::Ready);
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lines.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
