//! Whether an answer reached its client: the callbacks of handlers that care.
//!
//! Owns the table from request number to callback. It must not know sockets or
//! HTTP. A lane's thread puts a receipt in, a connection's thread takes it out;
//! whoever holds it last runs it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::message::Undelivered;

/// Carries a request's number to the lane. A client's own is stripped.
pub(super) const NUMBER_HEADER: &str = "x-front-request";

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

/// The requests that are in a lane now. One entry per lane at most, and one
/// more for each answer that a connection gave up waiting for.
#[derive(Default)]
pub(super) struct Receipts {
    expected: Mutex<HashMap<u64, Option<Receipt>>>,
}

impl Receipts {
    /// Before a request goes to a lane: its connection will take what comes.
    pub(super) fn expect(&self, number: u64) {
        self.table().insert(number, None);
    }

    /// Before a lane answers. If the connection has given up, this is the loss.
    pub(super) fn put(&self, number: u64, undelivered: Undelivered) {
        let receipt = Receipt(Some(undelivered));
        if let Some(place) = self.table().get_mut(&number) {
            *place = Some(receipt);
        }
    }

    /// After a lane has answered, or when the connection gives up.
    pub(super) fn take(&self, number: u64) -> Option<Receipt> {
        self.table().remove(&number).flatten()
    }

    /// No code of others runs under this lock: receipts are dropped outside.
    fn table(&self) -> MutexGuard<'_, HashMap<u64, Option<Receipt>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn called_once_or_never() {
        let receipts = Receipts::default();

        let (delivered, call) = counted();
        receipts.expect(1);
        receipts.put(1, call);
        receipts.take(1).expect("is there").delivered();
        assert_eq!(delivered.load(Ordering::SeqCst), 0);

        let (lost, call) = counted();
        receipts.expect(2);
        receipts.put(2, call);
        drop(receipts.take(2));
        assert!(receipts.take(2).is_none());
        assert_eq!(lost.load(Ordering::SeqCst), 1);

        let (late, call) = counted();
        receipts.expect(3);
        assert!(receipts.take(3).is_none());
        receipts.put(3, call);
        assert_eq!(late.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panicking_callback_is_caught() {
        drop(Receipt(Some(Box::new(|| panic!("on purpose")))));
    }
}
