//! The two primitives that carry concurrency in the domain, Mutex and channel.
//! With the cargo feature `shuttle` they are shuttle's, which explores thread
//! interleavings; everywhere else they are std's and crossbeam's.

#[cfg(not(feature = "shuttle"))]
mod primitives {
    pub use crossbeam_channel::{Receiver, Sender, unbounded};
    pub use std::sync::atomic::{AtomicUsize, Ordering};
    pub use std::sync::{Arc, Mutex, MutexGuard};
}

#[cfg(feature = "shuttle")]
mod primitives {
    pub use shuttle::sync::atomic::{AtomicUsize, Ordering};
    pub use shuttle::sync::mpsc::{Receiver, Sender, channel as unbounded};
    pub use shuttle::sync::{Arc, Mutex, MutexGuard};
}

pub use primitives::*;

/// Locks, and goes on after a panic elsewhere: every critical section in the
/// domain leaves its state whole before it calls code that could panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
