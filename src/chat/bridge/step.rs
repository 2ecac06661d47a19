//! Stepping through the bridge: where its loop stops, and what there is to see.
//!
//! It must not know who looks, or how: that is a [`Stepper`]. The thread "http-loop" runs
//! it, and stands still while somebody looks, as at a breakpoint.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::fanout::clock::Timestamp;
use crate::http::{Limits, Request, Response, Waiting};

/// What the loop is about to do.
#[derive(Clone, Copy)]
pub enum Moment<'a> {
    /// To handle this request.
    Request(&'a Request),
    /// To call SendMessage, which may take so long.
    Call {
        author: &'a str,
        text: &'a str,
        key: Option<&'a str>,
        timeout: Duration,
    },
    /// To take out all that is in the postbox.
    Flush,
    /// To give this answer to the front.
    Answer(&'a Response),
}

/// What stands beside it.
pub struct State {
    /// Messages in the postbox, and the bytes of their authors and texts.
    pub postbox: (usize, usize),
    pub subscribed: bool,
    /// The last message that was sent here since the last flush.
    pub last_own: Option<Timestamp>,
    /// The requests that are whole and wait for the loop: thread, method, path, how long.
    pub waiting: Vec<String>,
}

/// Who looks.
pub trait Stepper: Debug + Send + Sync {
    /// Returns when the loop is to go on.
    fn stop(&self, moment: Moment<'_>, state: &State);
}

/// Who looks, and the front's list of those who wait meanwhile.
pub struct Stepping {
    pub stepper: Arc<dyn Stepper>,
    pub waiting: Waiting,
}

impl Stepping {
    /// Takes off the limits that would end a request while the loop stands still.
    pub fn new(stepper: Arc<dyn Stepper>, limits: &mut Limits) -> Self {
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        (limits.lane_wait, limits.answer_time) = (NEVER, NEVER);
        let waiting = limits.waiting.insert(Waiting::default()).clone();
        Self { stepper, waiting }
    }
}
