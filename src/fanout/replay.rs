//! The replay buffer: the newest messages, for subscribers that come back. It must not
//! know who they are; the broadcast keeps it under its lock.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::backlog::Envelope;
use super::clock::Timestamp;

/// Bound of a replay buffer; with any of them 0 it keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub messages: usize,
    pub bytes: usize,
    /// Older messages are dropped when the next one is published, or asked for.
    pub age: Duration,
}

impl Default for Bound {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: 16 * 1024 * 1024,
            age: Duration::from_secs(5 * 60),
        }
    }
}

/// One look takes at most so many bytes, but one message always: what is dropped here
/// meanwhile is held by readers alone.
const LOOK_BYTES: usize = 256 * 1024;

pub(super) struct Replay<T> {
    bound: Bound,
    /// With the moment at which each came.
    kept: VecDeque<(Envelope<T>, Instant)>,
    bytes: usize,
    /// How many were dropped, or came before the buffer: the number of the first one that
    /// is kept. Messages are numbered from 0.
    first: u64,
    /// The time of the message before that: of what came later, all is here.
    whole_after: Timestamp,
}

impl<T: Clone> Replay<T> {
    /// For what comes after so many messages, the last of them at this time.
    pub(super) fn new(bound: Bound, published: u64, last: Timestamp) -> Self {
        Self {
            bound,
            kept: VecDeque::new(),
            bytes: 0,
            first: published,
            whole_after: last,
        }
    }

    /// Takes the next message, and drops what is over the bound then.
    pub(super) fn keep(&mut self, envelope: Envelope<T>, now: Instant) {
        self.bytes += envelope.bytes;
        self.kept.push_back((envelope, now));
        self.drop_old(now);
    }

    fn drop_old(&mut self, now: Instant) {
        let Bound {
            messages,
            bytes,
            age,
        } = self.bound;
        while let Some((oldest, came)) = self.kept.front() {
            let too_old = now.saturating_duration_since(*came) >= age;
            if self.kept.len() <= messages && self.bytes <= bytes && !too_old {
                return;
            }
            self.bytes -= oldest.bytes;
            self.whole_after = oldest.time;
            self.first += 1;
            self.kept.pop_front();
        }
    }

    /// The numbers of all messages after this time; `None` if some of them are not here.
    pub(super) fn after(&mut self, time: Timestamp, now: Instant) -> Option<Range<u64>> {
        self.drop_old(now);
        let newest = self.kept.back();
        let newest = newest.map_or(self.whole_after, |(newest, _)| newest.time);
        let known = (self.whole_after..=newest).contains(&time);
        let before = || self.kept.partition_point(|(it, _)| it.time <= time) as u64;
        let end = self.first + self.kept.len() as u64;
        known.then(|| self.first + before()..end)
    }

    /// Copies the first of these messages, at most so many, and takes their numbers out of
    /// the range. False if one of them was dropped.
    pub(super) fn read(
        &self,
        numbers: &mut Range<u64>,
        batch: &mut Vec<Envelope<T>>,
        most: usize,
    ) -> bool {
        let Some(skip) = numbers.start.checked_sub(self.first) else {
            return false;
        };
        let wanted = (numbers.end - numbers.start) as usize;
        let mut bytes = 0;
        let fits = |envelope: &&Envelope<T>| {
            let first = bytes == 0;
            bytes += envelope.bytes;
            first || bytes <= LOOK_BYTES
        };
        let kept = self.kept.range(skip as usize..).map(|(it, _)| it);
        batch.extend(kept.take(wanted.min(most)).take_while(fits).cloned());
        numbers.start += batch.len() as u64;
        true
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(nanos: i64, bytes: usize) -> Envelope<i64> {
        Envelope {
            time: Timestamp::from_nanos(nanos),
            bytes,
            payload: nanos,
        }
    }

    proptest! {
        /// Whatever comes, the newest within the bound is kept, any place from which all
        /// is there is found, and read in steps of any size.
        #[test]
        fn the_newest_within_the_bound_is_there_from_every_place(
            came in prop::collection::vec((1usize..100, 0u64..40), 1..60),
            step in 1usize..5,
        ) {
            let age = Duration::from_millis(100);
            let bound = Bound { messages: 5, bytes: 200, age };
            let mut now = Instant::now();
            let mut replay = Replay::new(bound, 7, Timestamp::from_nanos(0));
            let (mut all, mut first) = (Vec::new(), 0);
            for (bytes, wait) in came {
                now += Duration::from_millis(wait);
                let nanos = 10 * (all.len() as i64 + 1);
                replay.keep(envelope(nanos, bytes), now);
                all.push((nanos, bytes, now));
                let over = |kept: &[(i64, usize, Instant)]| {
                    let held: usize = kept.iter().map(|it| it.1).sum();
                    kept.len() > 5 || held > 200 || now - kept[0].2 >= age
                };
                while first < all.len() && over(&all[first..]) {
                    first += 1;
                }
            }
            let newest = 10 * all.len() as i64;
            for nanos in 0..=newest + 1 {
                // What is later than this is wanted.
                let from = (nanos / 10) as usize;
                let whole = nanos >= 10 * first as i64 && nanos <= newest;
                let found = replay.after(Timestamp::from_nanos(nanos), now);
                prop_assert_eq!(found.is_some(), whole, "after {}", nanos);
                let Some(mut numbers) = found else { continue };
                let (mut read, mut batch) = (Vec::new(), Vec::new());
                while !numbers.is_empty() {
                    batch.clear();
                    prop_assert!(replay.read(&mut numbers, &mut batch, step));
                    prop_assert!((1..=step).contains(&batch.len()));
                    read.extend(batch.iter().map(|it| it.payload));
                }
                let wanted: Vec<_> = all[from..].iter().map(|it| it.0).collect();
                prop_assert_eq!(read, wanted);
            }
        }
    }

    #[test]
    fn one_look_takes_one_large_message_and_not_two() {
        let mut replay = Replay::new(Bound::default(), 0, Timestamp::default());
        let now = Instant::now();
        for nanos in 1..=3 {
            replay.keep(envelope(nanos, LOOK_BYTES), now);
        }
        let (mut numbers, mut batch) = (0..3, Vec::new());
        assert!(replay.read(&mut numbers, &mut batch, 100));
        assert_eq!((batch.len(), numbers), (1, 1..3));
    }

    #[test]
    fn a_bound_of_nothing_keeps_nothing_but_knows_the_newest() {
        let bounds = [(0, 1, 1), (1, 0, 1), (1, 1, 0)];
        for (messages, bytes, age) in bounds {
            let age = Duration::from_secs(age);
            let bound = Bound {
                messages,
                bytes,
                age,
            };
            let now = Instant::now();
            let mut replay = Replay::new(bound, 0, Timestamp::default());
            replay.keep(envelope(1, 1), now);
            assert_eq!(replay.after(Timestamp::from_nanos(0), now), None);
            assert_eq!(replay.after(Timestamp::from_nanos(1), now), Some(1..1));
        }
    }
}
