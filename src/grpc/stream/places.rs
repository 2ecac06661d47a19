//! The live streams of a process: their number, its bound, and the wait until all
//! are over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::ends::Ends;
use crate::error::{Code, Error};
use crate::sync::{lock, unpoisoned};

/// Counts the live streams; clones share the count.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    limit: usize,
    taken: Mutex<usize>,
    changed: Condvar,
    numbers: AtomicU64,
    ends: Ends,
}

/// A place among the live streams, held until the call is over.
pub struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Places {
    pub fn new(limit: usize, ends: Ends) -> Self {
        Self(Arc::new(Shared {
            limit,
            taken: Mutex::default(),
            changed: Condvar::new(),
            numbers: AtomicU64::new(0),
            ends,
        }))
    }

    /// For the stream that [`Places::next_number`] gave this number.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when all are taken.
    pub fn take(&self, number: u64) -> Result<Place, Error> {
        let Shared { limit, taken, .. } = &*self.0;
        let mut taken = lock(taken);
        if *taken >= *limit {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!("streams: {limit} are open, which is the limit"),
            ));
        }
        *taken += 1;
        let shared = self.0.clone();
        Ok(Place { shared, number })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        *lock(&self.0.taken)
    }

    /// Streams are numbered over all names.
    pub fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until all places are free, at most so long. Returns how many are not.
    pub fn wait_until_free(&self, timeout: Duration) -> usize {
        let Shared { taken, changed, .. } = &*self.0;
        let waited = changed.wait_timeout_while(lock(taken), timeout, |taken| *taken > 0);
        *unpoisoned(waited).0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.ends.remove(self.number);
        *lock(&self.shared.taken) -= 1;
        self.shared.changed.notify_all();
    }
}
