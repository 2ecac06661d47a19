//! The live streams of a process: their number, its bound, and the wait until all
//! are over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

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
}

/// A place among the live streams, held until the call is over.
pub struct Place(Arc<Shared>);

impl Places {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            taken: Mutex::default(),
            changed: Condvar::new(),
            numbers: AtomicU64::new(0),
        }))
    }

    /// # Errors
    /// RESOURCE_EXHAUSTED when all are taken.
    pub fn take(&self) -> Result<Place, Error> {
        let Shared { limit, taken, .. } = &*self.0;
        let mut taken = lock(taken);
        if *taken >= *limit {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!("streams: {limit} are open, which is the limit"),
            ));
        }
        *taken += 1;
        Ok(Place(self.0.clone()))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        *lock(&self.0.taken)
    }

    /// "name-7": streams are numbered over all names.
    pub fn thread_name(&self, name: &str) -> String {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{name}-{number}")
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
        *lock(&self.0.taken) -= 1;
        self.0.changed.notify_all();
    }
}
