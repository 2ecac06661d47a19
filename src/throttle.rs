//! Log lines that a stranger can cause, within bounds: the first of each second
//! as they are, the rest as a number. Pure: the time comes from outside.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// The time that a bound is for, and after which the rest is told.
const PERIOD: Duration = Duration::from_secs(1);

/// At most so many lines a second, over several kinds of lines. Nothing is
/// lost: what is not written is counted, for each kind by itself.
pub struct Throttle<const KINDS: usize> {
    most: u32,
    state: Mutex<State<KINDS>>,
}

struct State<const KINDS: usize> {
    /// When the second began that counts, and the lines written in it.
    began: Option<Instant>,
    written: u32,
    withheld: [u64; KINDS],
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Write,
    /// It is counted. For the first one, when to tell the count: whoever asked
    /// sees to it that [`Throttle::take_withheld`] is called then.
    Count(Option<Instant>),
}

impl<const KINDS: usize> Throttle<KINDS> {
    pub fn new(most: u32) -> Self {
        Self {
            most,
            state: Mutex::new(State {
                began: None,
                written: 0,
                withheld: [0; KINDS],
            }),
        }
    }

    /// Asks for a line of this kind, which is below `KINDS`. Never blocks for
    /// longer than another thread needs for the same.
    pub fn admit(&self, kind: usize, now: Instant) -> Admission {
        let mut state = self.lock();
        let began = match state.began {
            Some(began) if now.saturating_duration_since(began) < PERIOD => began,
            _ => {
                state.written = 0;
                *state.began.insert(now)
            }
        };
        if state.written < self.most {
            state.written += 1;
            return Admission::Write;
        }
        let first = state.withheld == [0; KINDS];
        state.withheld[kind] += 1;
        Admission::Count(first.then_some(began + PERIOD))
    }

    /// How many lines of each kind were counted since this was last asked;
    /// `None` if there were none.
    pub fn take_withheld(&self) -> Option<[u64; KINDS]> {
        let withheld = std::mem::replace(&mut self.lock().withheld, [0; KINDS]);
        (withheld != [0; KINDS]).then_some(withheld)
    }

    fn lock(&self) -> MutexGuard<'_, State<KINDS>> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_a_second_are_written_and_the_rest_counted_by_kind() {
        let throttle = Throttle::<2>::new(3);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for ms in [0, 10, 20] {
            assert_eq!(throttle.admit(0, at(ms)), Admission::Write);
        }
        assert_eq!(throttle.admit(1, at(30)), Admission::Count(Some(at(1000))));
        assert_eq!(throttle.admit(0, at(40)), Admission::Count(None));
        assert_eq!(throttle.admit(1, at(999)), Admission::Count(None));
        assert_eq!(throttle.take_withheld(), Some([1, 2]));
        assert_eq!(throttle.take_withheld(), None);
        // A new second, which begins with its first line and not with the clock.
        assert_eq!(throttle.admit(1, at(1500)), Admission::Write);
        for ms in [1600, 1700] {
            assert_eq!(throttle.admit(0, at(ms)), Admission::Write);
        }
        assert_eq!(
            throttle.admit(0, at(2400)),
            Admission::Count(Some(at(2500)))
        );
    }

    #[test]
    fn a_count_that_is_told_late_misses_nothing() {
        let throttle = Throttle::<1>::new(1);
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(throttle.admit(0, at(0)), Admission::Write);
        assert_eq!(throttle.admit(0, at(0)), Admission::Count(Some(at(1))));
        // The teller is late; it was told already, and counts both seconds.
        assert_eq!(throttle.admit(0, at(5)), Admission::Write);
        assert_eq!(throttle.admit(0, at(5)), Admission::Count(None));
        assert_eq!(throttle.take_withheld(), Some([2]));
        assert_eq!(throttle.admit(0, at(5)), Admission::Count(Some(at(6))));
    }

    proptest! {
        #[test]
        fn every_line_is_written_or_counted_and_no_second_has_too_many(
            most in 0u32..5, gaps in prop::collection::vec((0usize..2, 0u64..700), 1..200)
        ) {
            let throttle = Throttle::<2>::new(most);
            let mut now = Instant::now();
            let (mut written, mut counted) = (Vec::new(), 0);
            let mut told = 0;
            for (kind, gap) in &gaps {
                now += Duration::from_millis(*gap);
                match throttle.admit(*kind, now) {
                    Admission::Write => written.push(now),
                    Admission::Count(due) => {
                        counted += 1;
                        prop_assert!(due.is_none_or(|due| due > now && due <= now + PERIOD));
                    }
                }
                if gap % 3 == 0 {
                    told += throttle.take_withheld().map_or(0, |kinds| kinds.iter().sum::<u64>());
                }
            }
            told += throttle.take_withheld().map_or(0, |kinds| kinds.iter().sum::<u64>());
            prop_assert_eq!(told, counted);
            prop_assert_eq!(written.len() as u64 + counted, gaps.len() as u64);
            // Seconds begin with their first line, so any second has at most
            // what ends one and begins the next.
            for first in &written {
                let same = written.iter().filter(|t| **t >= *first && **t < *first + PERIOD);
                prop_assert!(same.count() <= 2 * most as usize);
            }
        }
    }
}
