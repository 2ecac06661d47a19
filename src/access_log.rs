//! The access log, one line for each HTTP request and gRPC call, and the request id
//! that such lines have in common: it comes in `X-Request-Id` or is made, and goes on
//! with the calls that are made for a request. Off until [`turn_on`] is called; a trace
//! wants the ids alone.
//!
//! Lines go through the log, at info. They never have a token, a text or a query.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::key::is_visible;

/// The field of HTTP and of gRPC metadata.
pub const HEADER: &str = "x-request-id";

/// The longest id that is taken over, in visible ASCII characters.
const MOST: usize = 64;

static ON: AtomicBool = AtomicBool::new(false);
static LINES: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes lines from now on.
pub fn turn_on() {
    LINES.store(true, Ordering::Relaxed);
    give_ids();
}

/// Gives requests their ids from now on.
pub fn give_ids() {
    ON.store(true, Ordering::Relaxed);
}

/// Whether there are lines, not ids alone.
pub fn has_lines() -> bool {
    LINES.load(Ordering::Relaxed)
}

/// The id of a request: the one that came, if it is one, else a new one. `None` when
/// nobody wants ids.
pub fn request_id<'a>(came: impl FnOnce() -> Option<&'a str>) -> Option<String> {
    ON.load(Ordering::Relaxed).then(|| {
        let sound = came().filter(|id| is_visible(id, MOST)).map(str::to_owned);
        sound.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))
    })
}

/// This thread works on the request of this id from now on: the calls that it makes
/// have the id too.
pub fn work_for<'a>(id: impl FnOnce() -> Option<&'a str>) {
    if ON.load(Ordering::Relaxed) {
        CURRENT.set(id().map(str::to_owned));
    }
}

/// The id of the request that this thread works on.
pub fn current() -> Option<String> {
    CURRENT.with_borrow(Clone::clone)
}
