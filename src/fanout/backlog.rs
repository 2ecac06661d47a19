//! The backlog of one subscriber: its bound, its counts, why it ended, and how
//! its reader is woken. The messages themselves are on the subscriber's channel.

use std::sync::OnceLock;

use super::clock::Timestamp;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, fence};

/// Bound of one subscriber's backlog, including what is being written, and of all
/// backlogs of a broadcast.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub messages: usize,
    pub bytes: usize,
    /// Bytes that all take together beside the payloads, which they share: 64 for
    /// each message in each of them.
    pub together: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            messages: 8192,
            bytes: 8 * 1024 * 1024,
            together: Self::together(1024 * 1024 * 1024),
        }
    }
}

impl Capacity {
    /// The part of a server's memory limit that all backlogs of one broadcast get.
    pub const fn together(memory_limit: usize) -> usize {
        memory_limit / 8
    }
}

/// A payload with its place in the order.
#[derive(Clone, Debug)]
pub struct Envelope<T> {
    pub time: Timestamp,
    /// What the payload counts for against [`Capacity::bytes`].
    pub bytes: usize,
    pub payload: T,
}

/// Why a subscription gives no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The broadcast was closed; everything published before was received.
    Closed,
    /// Slow consumer: the backlog outgrew the capacity, and was dropped.
    SlowConsumer,
    /// What comes has no connection any more to what came.
    Restarted,
    /// The subscriber's own [`Membership`](super::broadcast::Membership) was dropped.
    Left,
}

/// What a subscriber, its reader and its writer share.
#[derive(Default)]
pub(super) struct Backlog {
    pub(super) capacity: Capacity,
    /// What the reader has done with, in all. It alone writes them, once for a batch, and
    /// the publisher counts beside them what it has sent: a count that both change would
    /// go from one processor to the other and back with each message.
    pub(super) done_messages: AtomicUsize,
    pub(super) done_bytes: AtomicUsize,
    pub(super) end: OnceLock<End>,
    /// The reader has found nothing, and wants the bell for what comes next. A
    /// reader that is busy, as it is at a high rate, costs the publisher no wakeup.
    armed: AtomicBool,
    pub(super) bell: OnceLock<Bell>,
}

impl Backlog {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// The reader looks once more after this.
    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
        // That look must not be moved before the store: whoever sends after it sees
        // the bell armed.
        fence(Ordering::SeqCst);
    }

    /// Whether to ring for what was sent before [`sent`]; true for one sender only.
    pub(super) fn disarm(&self) -> bool {
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::SeqCst)
    }

    pub(super) fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell();
        }
    }
}

/// Between what was sent and [`Backlog::disarm`].
pub(super) fn sent() {
    fence(Ordering::SeqCst);
}

/// Called when there is something to read, or the end. Runs on the thread that
/// drops [`Wakeups`] or ends the subscription.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// Readers that wait although there is something to read. Dropping this rings their
/// bells; a publisher answers its own caller first.
#[must_use = "readers wait until it is dropped"]
#[derive(Default)]
pub struct Wakeups(pub(super) Vec<Arc<Backlog>>);

impl Drop for Wakeups {
    fn drop(&mut self) {
        for backlog in &self.0 {
            backlog.ring();
        }
    }
}
