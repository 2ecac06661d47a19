//! Stepping through the bridge: what there is to see where its loop stops.
//!
//! It must not know who looks, or how ([`Stepper`]). The thread "http-loop" runs it, and
//! stands still while somebody looks, as at a breakpoint.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::fanout::clock::Timestamp;
use crate::http::{Limits, Waiting};

/// The most of a body that is shown, in bytes.
const SHOWN: usize = 400;

/// The most waiting requests that are shown.
const SHOWN_WAITING: usize = 5;

/// Who looks.
pub trait Stepper: Debug + Send + Sync {
    /// Returns when the loop is to go on. It is about to do what the first line says; the
    /// others are details, and all may have what users wrote. `begins` with a request.
    fn stop(&self, begins: bool, lines: &[String]);
}

/// Who looks, and the front's list of those who wait meanwhile.
pub struct Stepping {
    stepper: Arc<dyn Stepper>,
    waiting: Waiting,
}

impl Stepping {
    /// Takes off the limits that would end a request while the loop stands still.
    pub fn new(stepper: Arc<dyn Stepper>, limits: &mut Limits) -> Self {
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        (limits.lane_wait, limits.answer_time) = (NEVER, NEVER);
        let waiting = limits.waiting.insert(Waiting::default()).clone();
        Self { stepper, waiting }
    }

    /// Shows these lines and the state beside them: messages and bytes in the postbox,
    /// whether a subscription is live, and the last message sent here since a flush.
    pub fn stop(
        &self,
        mut lines: Vec<String>,
        postbox: (usize, usize),
        live: bool,
        own: Timestamp,
    ) {
        let begins = lines[0].starts_with("request");
        let (messages, bytes) = postbox;
        let own = match own == Timestamp::default() {
            true => "none since the last flush".into(),
            false => own.rfc3339(),
        };
        lines.push(format!("postbox: {messages} messages of {bytes} bytes"));
        lines.push(format!(
            "subscription: {}",
            if live { "live" } else { "none" }
        ));
        lines.push(format!("last own message: {own}"));
        let waiting = self.waiting.list();
        lines.push(format!("waiting in the front: {}", waiting.len()));
        lines.extend(waiting.into_iter().take(SHOWN_WAITING));
        self.stepper.stop(begins, &lines);
    }
}

/// A body, as far as it is shown.
pub fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    match body.len() {
        0 => "no body".into(),
        length if length > SHOWN => format!("{text}... ({length} bytes)"),
        _ => text.into(),
    }
}
