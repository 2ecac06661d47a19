//! Mutex, channel and atomics, and the one way to lock and to start a thread. With the
//! cargo feature `shuttle` they are shuttle's, which explores thread interleavings;
//! everywhere else they are std's and crossbeam's.

use std::thread;

#[cfg(not(feature = "shuttle"))]
mod primitives {
    pub use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
    pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};
}

#[cfg(feature = "shuttle")]
mod primitives {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    pub use shuttle::sync::mpsc::{Receiver, Sender, TryRecvError, channel as unbounded};
    pub use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
}

pub use primitives::*;

/// Locks, and goes on after a panic elsewhere: every critical section leaves its
/// state whole before it calls code that could panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// The same for what a wait on a condition variable gives back.
pub fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts a thread with this name.
///
/// # Errors
/// When it cannot be started.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(work)
}

/// Runs `round` in so many interleavings of its threads that the `tests` of a group have
/// `MESSENGER_SHUTTLE_SCHEDULES` together: half of them chosen at random, half by few
/// changes of priority, which finds what needs a thread to be late (PCT, Burckhardt et
/// al., ASPLOS 2010). A failure prints the schedule, for `shuttle::replay`.
#[cfg(all(test, feature = "shuttle"))]
pub fn explore(tests: usize, round: impl Fn() + Clone + Send + Sync + 'static) {
    let all = std::env::var("MESSENGER_SHUTTLE_SCHEDULES");
    let all: usize = all.map_or(20_000, |all| all.parse().expect("a number of schedules"));
    let half = all.div_ceil(2 * tests);
    shuttle::check_random(round.clone(), half);
    shuttle::check_pct(round, half, 3);
}
