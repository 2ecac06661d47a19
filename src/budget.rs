//! The bound on memory that is held for peers: one number over all of them.
//!
//! Owns the count alone: whoever holds bytes for a peer (a request that comes in,
//! an answer that is not taken yet) also keeps a [`Hold`] of so many bytes, and
//! gives them back by dropping it. Lock-free; any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes over all peers; clones count together.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Count>);

#[derive(Debug)]
struct Count {
    limit: usize,
    held: AtomicUsize,
}

/// There is no room for so many more bytes now. Others may give some back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the memory limit of {limit} bytes for all clients together")]
pub struct Full {
    pub limit: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl Budget {
    /// 1 GiB.
    pub const DEFAULT: usize = 1 << 30;

    pub fn new(limit: usize) -> Self {
        let held = AtomicUsize::new(0);
        Self(Arc::new(Count { limit, held }))
    }

    /// A budget of its own, with one of so many parts.
    #[must_use]
    pub fn part(&self, of: usize) -> Self {
        Self::new(self.limit() / of)
    }

    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// The bytes that are held now.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// A hold of nothing, to be [`set`](Hold::set).
    pub fn hold(&self) -> Hold {
        let budget = self.clone();
        Hold { budget, bytes: 0 }
    }

    /// Holds so many bytes until the hold is dropped. Never waits.
    ///
    /// # Errors
    /// [`Full`]; then nothing is held.
    pub fn take(&self, bytes: usize) -> Result<Hold, Full> {
        let mut hold = self.hold();
        hold.set(bytes)?;
        Ok(hold)
    }
}

/// Bytes of a [`Budget`] that are in use; dropping it gives them back.
#[derive(Debug)]
pub struct Hold {
    budget: Budget,
    bytes: usize,
}

impl Hold {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds so many bytes from now on, more or fewer.
    ///
    /// # Errors
    /// [`Full`]; then it holds what it held before.
    pub fn set(&mut self, bytes: usize) -> Result<(), Full> {
        let Count { limit, held } = &*self.budget.0;
        let Some(more) = bytes.checked_sub(self.bytes) else {
            self.force(bytes);
            return Ok(());
        };
        let fits = |held: usize| held.checked_add(more).filter(|sum| sum <= limit);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        held.fetch_update(set, fetch, fits)
            .map_err(|_| Full { limit: *limit })?;
        self.bytes = bytes;
        Ok(())
    }

    /// As [`Hold::set`], even beyond the limit: for bytes that are there anyway.
    pub fn force(&mut self, bytes: usize) {
        let held = &self.budget.0.held;
        // Wrapping, so that one addition does for both directions.
        held.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.force(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_count_together_and_give_back_what_they_held() {
        let budget = Budget::new(100);
        let mut first = budget.take(60).unwrap();
        assert_eq!(budget.take(41).unwrap_err(), Full { limit: 100 });
        let second = budget.clone().take(40).unwrap();
        assert_eq!(first.set(61), Err(Full { limit: 100 }));
        assert_eq!((first.bytes(), budget.held()), (60, 100));
        first.set(10).unwrap();
        assert!(budget.take(usize::MAX).is_err());
        first.force(70);
        assert_eq!(budget.held(), 110);
        drop(second);
        assert!(budget.take(31).is_err() && budget.take(30).is_ok());
        drop(first);
        assert_eq!(budget.held(), 0);
    }
}
