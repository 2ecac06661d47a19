//! The replay buffer: the newest messages, for subscribers that come back. It must not
//! know who they are; the broadcast keeps it under its lock.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::broadcast::Envelope;
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
