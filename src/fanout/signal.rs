//! A wakeup that costs the sender no system call while the reader is busy, as it
//! is at a high rate.

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, fence, lock, unpoisoned};

/// Lets one thread wait for others. The waiter arms the signal, checks once
/// more whether there is something, and then waits.
#[derive(Default)]
pub struct Signal {
    armed: AtomicBool,
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Asks to be woken for what arrives from now on.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
        // The check that follows must not be moved before the store: whoever
        // sends after that check then sees the signal armed.
        fence(Ordering::SeqCst);
    }

    /// To be called after sending: whether the waiter has to be woken. True for one
    /// sender only, which then has to call [`Signal::wake`].
    pub fn take_waiter(&self) -> bool {
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::SeqCst)
    }

    /// Wakes the waiter, or the next one to wait.
    pub fn wake(&self) {
        *lock(&self.woken) = true;
        self.changed.notify_one();
    }

    /// Blocks until woken. Spurious wakeups are possible.
    pub fn wait(&self) {
        let mut woken = lock(&self.woken);
        while !*woken {
            woken = unpoisoned(self.changed.wait(woken));
        }
        *woken = false;
    }
}
