//! What a handler attaches to its answer: a callback for an answer that was not
//! delivered, and a streamed body.
//!
//! Owns the table from request number to both. It must not know sockets or
//! HTTP. A lane's thread puts them in, a connection's thread takes them out;
//! whoever holds them last runs the callback, or drops the stream's source.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

use super::message::{Response, Undelivered};
use super::stream::Stream;
use crate::budget::Hold;
use crate::sync::lock;

/// Carries a request's number to the lane. A client's own is stripped.
pub(super) const NUMBER_HEADER: &str = "x-front-request";

/// Tells the lane that a request has waited. A client's own is stripped too.
pub(super) const WAITED_HEADER: &str = "x-front-waited";

/// A promise to call back if an answer is lost. Dropping it is the loss, so no
/// path can forget it, and none can call twice.
pub(super) struct Receipt(Option<Undelivered>);

impl Receipt {
    pub(super) fn delivered(mut self) {
        self.0 = None;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(undelivered) = self.0.take()
            && catch_unwind(AssertUnwindSafe(undelivered)).is_err()
        {
            tracing::error!("the callback for an undelivered answer panicked");
        }
    }
}

/// What goes past the lane's socket. The callback is the last to go but for the
/// memory, so nothing else has the messages that it puts back.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) stream: Option<Stream>,
    /// See [`Response::length`].
    pub(super) length: Option<usize>,
    pub(super) receipt: Option<Receipt>,
    pub(super) hold: Option<Hold>,
    pub(super) message: Option<u64>,
    pub(super) wait_again: bool,
}

impl Attached {
    /// `None` if there is nothing, as with most answers.
    pub(super) fn take_from(response: &mut Response) -> Option<Attached> {
        let receipt = response.undelivered.take().map(|call| Receipt(Some(call)));
        let stream = response.stream.take().map(Stream::new);
        let hold = response.hold.take();
        let (message, wait_again) = (response.message, response.wait_again);
        let any = receipt.is_some() || stream.is_some() || hold.is_some();
        let any = any || message.is_some() || wait_again;
        any.then_some(Attached {
            stream,
            length: response.length,
            receipt,
            hold,
            message,
            wait_again,
        })
    }
}

/// The requests that are in a lane now. One entry per lane at most, and one
/// more for each answer that a connection gave up waiting for.
#[derive(Default)]
pub(super) struct Receipts {
    expected: Mutex<HashMap<u64, Option<Attached>>>,
}

impl Receipts {
    /// Before a request goes to a lane: its connection will take what comes.
    pub(super) fn expect(&self, number: u64) {
        self.table().insert(number, None);
    }

    /// Before a lane answers. If the connection has given up, this is the loss.
    pub(super) fn put(&self, number: u64, attached: Attached) {
        if let Some(place) = self.table().get_mut(&number) {
            *place = Some(attached);
        }
    }

    /// After a lane has answered, or when the connection gives up.
    pub(super) fn take(&self, number: u64) -> Attached {
        self.table().remove(&number).flatten().unwrap_or_default()
    }

    /// No code of others runs under this lock: what they attached is dropped
    /// outside.
    fn table(&self) -> MutexGuard<'_, HashMap<u64, Option<Attached>>> {
        lock(&self.expected)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counted() -> (Arc<AtomicUsize>, Undelivered) {
        let count = Arc::new(AtomicUsize::new(0));
        let inner = Arc::clone(&count);
        (
            count,
            Box::new(move || {
                let _ = inner.fetch_add(1, Ordering::SeqCst);
            }),
        )
    }

    fn attached(call: Undelivered) -> Attached {
        Attached {
            receipt: Some(Receipt(Some(call))),
            ..Attached::default()
        }
    }

    #[test]
    fn called_once_or_never() {
        let receipts = Receipts::default();

        let (delivered, call) = counted();
        receipts.expect(1);
        receipts.put(1, attached(call));
        let receipt = receipts.take(1).receipt;
        receipt.expect("is there").delivered();
        assert_eq!(delivered.load(Ordering::SeqCst), 0);

        let (lost, call) = counted();
        receipts.expect(2);
        receipts.put(2, attached(call));
        drop(receipts.take(2));
        assert!(receipts.take(2).receipt.is_none());
        assert_eq!(lost.load(Ordering::SeqCst), 1);

        let (late, call) = counted();
        receipts.expect(3);
        assert!(receipts.take(3).receipt.is_none());
        receipts.put(3, attached(call));
        assert_eq!(late.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panicking_callback_is_caught() {
        drop(Receipt(Some(Box::new(|| panic!("on purpose")))));
    }
}
