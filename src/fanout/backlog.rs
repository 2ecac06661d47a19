//! What waits for one subscriber: its bound, its counts, its end, and how its
//! reader learns of it. The messages themselves are on the subscriber's channel.

use std::sync::OnceLock;

use super::signal::Signal;
use crate::sync::{Arc, AtomicUsize};

/// The most that may wait for one subscriber, what is being written included.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub messages: usize,
    pub bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            messages: 8192,
            bytes: 8 * 1024 * 1024,
        }
    }
}

/// Why a subscription gives no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The broadcast was closed; everything published before was received.
    Closed,
    /// The backlog outgrew the capacity; what was left of it is gone.
    SlowConsumer,
    /// The subscriber's own [`Membership`](super::broadcast::Membership) was dropped.
    Left,
}

/// What a subscriber, its reader and its writer share.
pub(super) struct Backlog {
    pub(super) capacity: Capacity,
    pub(super) messages: AtomicUsize,
    pub(super) bytes: AtomicUsize,
    pub(super) end: OnceLock<End>,
    pub(super) arrived: Signal,
    pub(super) bell: OnceLock<Bell>,
}

impl Backlog {
    pub(super) fn wake(&self) {
        match self.bell.get() {
            Some(bell) => bell(),
            None => self.arrived.wake(),
        }
    }
}

/// What is called for a reader that waits, instead of waking its thread. Runs
/// on the thread that drops [`Wakeups`], or ends the subscription.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// Readers that have something to read now and do not know it yet. Dropping it
/// tells them; a publisher that has somebody waiting for its answer answers
/// first.
#[must_use = "readers wait until it is dropped"]
#[derive(Default)]
pub struct Wakeups(pub(super) Vec<Arc<Backlog>>);

impl Drop for Wakeups {
    fn drop(&mut self) {
        for backlog in &self.0 {
            backlog.wake();
        }
    }
}

/// Where a subscription's thread waits.
#[derive(Clone)]
pub struct Waiter(pub(super) Arc<Backlog>);

impl Waiter {
    /// Blocks until woken. May return for what has been seen already.
    pub fn wait(&self) {
        self.0.arrived.wait();
    }

    /// Wakes the thread that waits, or the next one that comes.
    pub fn wake(&self) {
        self.0.arrived.wake();
    }
}
