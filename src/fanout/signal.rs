//! A wait for "something has arrived" that costs the sender nothing while nobody
//! waits: at a high rate the reader is busy, and no system call is made for it.

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, fence, lock, unpoisoned};

/// Lets one thread wait for others. The waiter arms the signal, looks once more
/// whether there is something, and then waits.
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
        // The look that follows must not be moved before the store: whoever
        // sends after that look then sees the signal armed.
        fence(Ordering::SeqCst);
    }

    /// Whether somebody has to be woken, for a sender that has sent; tells one
    /// sender only, who then owes a [`Signal::wake`].
    pub fn take_waiter(&self) -> bool {
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::SeqCst)
    }

    /// Wakes the waiter, or the next one that comes.
    pub fn wake(&self) {
        *lock(&self.woken) = true;
        self.changed.notify_one();
    }

    /// Blocks until woken. May return for what has been seen already.
    pub fn wait(&self) {
        let mut woken = lock(&self.woken);
        while !*woken {
            woken = unpoisoned(self.changed.wait(woken));
        }
        *woken = false;
    }
}
