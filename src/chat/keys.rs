//! The chat's memory of idempotency keys: what was sent with each, and when.
//!
//! It has digests instead of keys and contents, so that each key takes the same. Whoever
//! finds two texts of one digest, in 2^64 tries, can only lead himself astray.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use openssl::sha::Sha256;

use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::key;

/// How many keys are remembered, and how long; what comes first counts.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// None would be a server that delivers again what is sent again, and does not say so.
    pub keys: NonZeroUsize,
    pub age: Duration,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            keys: NonZeroUsize::new(100_000).expect("some"),
            age: Duration::from_secs(600),
        }
    }
}

/// A message that is sent with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    key: u128,
    content: u128,
}

impl Keyed {
    pub fn new(key: &str, author: &str, text: &str) -> Self {
        Self {
            key: digest(&[key]),
            content: digest(&[author, text]),
        }
    }
}

/// Of these parts, each with its length. 128 bits are enough.
fn digest(parts: &[&str]) -> u128 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    u128::from_le_bytes(*digest.finish().first_chunk().expect("32 bytes"))
}

struct First {
    content: u128,
    /// In the answer.
    time: Timestamp,
    came: Instant,
}

/// The newest keys, within their capacity.
pub struct Keys {
    capacity: Capacity,
    /// No hash table: where much comes and goes, that takes twice the room, and stops now
    /// and then to sort itself out.
    first: BTreeMap<u128, First>,
    /// When each came. One that came again after its age is in here twice.
    order: VecDeque<(Instant, u128)>,
}

impl Keys {
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            first: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The time in the first answer, if this was sent before.
    ///
    /// # Errors
    /// `AlreadyExists` if the key came with other content.
    pub fn find(&self, sent: Keyed, now: Instant) -> Result<Option<Timestamp>, Error> {
        let first = self.first.get(&sent.key);
        match first.filter(|first| !self.is_old(first.came, now)) {
            Some(first) if first.content != sent.content => Err(key::taken("author or text")),
            first => Ok(first.map(|first| first.time)),
        }
    }

    /// Remembers what [`Keys::find`] has not found, with the time in its answer.
    pub fn remember(&mut self, sent: Keyed, now: Instant, time: Timestamp) {
        // Two for one that comes: nobody pays for all that grew old at once.
        for _ in 0..2 {
            self.forget(now);
        }
        let first = First {
            content: sent.content,
            time,
            came: now,
        };
        self.first.insert(sent.key, first);
        self.order.push_back((now, sent.key));
    }

    /// The oldest, if it is too old or there are too many.
    fn forget(&mut self, now: Instant) {
        let is_full = self.order.len() >= self.capacity.keys.get();
        let oldest = self.order.front().copied();
        let Some((came, key)) = oldest.filter(|(came, _)| is_full || self.is_old(*came, now))
        else {
            return;
        };
        self.order.pop_front();
        if self.first.get(&key).is_some_and(|it| it.came == came) {
            self.first.remove(&key);
        }
    }

    fn is_old(&self, came: Instant, now: Instant) -> bool {
        // Those who wait for their turn have looked at the clock before.
        now.saturating_duration_since(came) >= self.capacity.age
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(keys: usize, seconds: u64) -> Keys {
        let (keys, age) = (
            NonZeroUsize::new(keys).unwrap(),
            Duration::from_secs(seconds),
        );
        Keys::new(Capacity { keys, age })
    }

    #[test]
    fn author_and_text_are_told_apart() {
        let (mut keys, now) = (keys(10, 60), Instant::now());
        keys.remember(Keyed::new("k", "a", "b"), now, Timestamp::from_nanos(7));
        for (author, text) in [("a", "c"), ("c", "b"), ("", "ab"), ("ab", "")] {
            let taken = Err(key::taken("author or text"));
            assert_eq!(keys.find(Keyed::new("k", author, text), now), taken);
        }
        assert_eq!(keys.find(Keyed::new("K", "a", "b"), now), Ok(None));
    }

    proptest! {
        /// Against a list of all that was ever sent.
        #[test]
        fn a_key_is_known_if_it_is_young_and_among_the_newest(
            sends in prop::collection::vec((0u8..12, 0u8..2, 0u64..30), 1..200),
            (most, age) in (1usize..8, 1u64..60),
        ) {
            let (mut keys, mut now) = (keys(most, age), Instant::now());
            let mut all: Vec<(u8, u8, Instant)> = Vec::new();
            for (key, text, pause) in sends {
                now += Duration::from_secs(pause);
                let sent = Keyed::new(&key.to_string(), "", &text.to_string());
                let newest = all.iter().enumerate().rev().take(most);
                let first = newest.clone().find(|(_, first)| first.0 == key);
                let first = first.filter(|(_, first)| now - first.2 < Duration::from_secs(age));
                match (keys.find(sent, now), first) {
                    (Ok(None), None) => {
                        keys.remember(sent, now, Timestamp::from_nanos(all.len() as i64));
                        all.push((key, text, now));
                    }
                    (Ok(Some(time)), Some((number, first))) => {
                        prop_assert_eq!((time.nanos(), first.1), (number as i64, text));
                    }
                    (Err(_), Some((_, first))) => prop_assert_ne!(first.1, text),
                    (known, first) => prop_assert!(false, "{known:?} {first:?}"),
                }
                prop_assert!(keys.order.len() <= most && keys.first.len() <= keys.order.len());
            }
        }
    }
}
