//! Stepping through the bridge: what there is to see where its loop stops. The thread
//! "http-loop" runs it, and stands still while somebody looks, as at a breakpoint.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fanout::clock::Timestamp;
use crate::http::Limits;
use crate::sync::lock;

/// The most requests that wait of which more than their number is shown.
const SHOWN: usize = 5;

/// Who looks. It must not be known here who that is, or how.
pub trait Stepper: Debug + Send + Sync {
    /// Returns when the loop is to go on; `begins` with a request. The first line says what
    /// it is about to do, the others are details. Users' texts in them are as they came.
    fn stop(&self, begins: bool, lines: Vec<String>);
}

/// Who looks, and the list of those who wait in the front meanwhile.
pub struct Stepping(Arc<dyn Stepper>, Arc<Mutex<Vec<String>>>);

impl Stepping {
    /// Takes off the limits that would end a request while the loop stands still.
    pub fn new(stepper: Arc<dyn Stepper>, limits: &mut Limits) -> Self {
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        (limits.lane_wait, limits.answer_time) = (NEVER, NEVER);
        Self(stepper, limits.waiting.insert(Arc::default()).clone())
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
        let own = (own != Timestamp::default()).then(|| own.rfc3339());
        let own = own.as_deref().unwrap_or("none since the last flush");
        let (messages, bytes) = postbox;
        let waiting = lock(&self.1).clone();
        lines.push(format!("postbox: {messages} messages of {bytes} bytes"));
        lines.push(format!(
            "subscription: {}",
            if live { "live" } else { "none" }
        ));
        lines.push(format!("last own message: {own}"));
        lines.push(format!("waiting in the front: {}", waiting.len()));
        lines.extend(waiting.into_iter().take(SHOWN));
        self.0.stop(begins, lines);
    }
}
