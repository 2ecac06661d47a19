//! The backlog of one subscriber: its bound, its counts, why it ended, and how
//! its reader is woken. The messages themselves are on the subscriber's channel.

use std::sync::OnceLock;

use super::signal::Signal;
use crate::sync::{Arc, AtomicUsize};

/// Bound of one subscriber's backlog, including what is being written.
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
    /// Slow consumer: the backlog outgrew the capacity, and was dropped.
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

/// Called, instead of waking the reader's thread, when there is something to
/// read. Runs on the thread that drops [`Wakeups`] or ends the subscription.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// Readers that have to be woken, since there is something to read. Dropping
/// this wakes them; a publisher answers its own caller first.
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
    /// Blocks until woken. Spurious wakeups are possible.
    pub fn wait(&self) {
        self.0.arrived.wait();
    }

    /// Wakes the thread that waits, or the next one to wait.
    pub fn wake(&self) {
        self.0.arrived.wake();
    }
}
