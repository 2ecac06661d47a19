//! The newest chat events, for pages that come back. Pure: no lock, no thread.

use std::collections::VecDeque;

use super::event::Event;

/// The most that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub events: usize,
    pub bytes: usize,
}

/// Numbered events, the oldest of which make room. Ids are `EPOCH-N`: the epoch
/// is another one for each process, and N rises by one.
#[derive(Debug)]
pub struct Replay {
    epoch: String,
    bound: Bound,
    kept: VecDeque<Event>,
    bytes: usize,
    /// The number of the newest event, 0 before the first.
    last: u64,
}

impl Replay {
    pub fn new(epoch: String, bound: Bound) -> Self {
        Self {
            epoch,
            bound,
            kept: VecDeque::new(),
            bytes: 0,
            last: 0,
        }
    }

    /// The id of the newest event.
    pub fn id(&self) -> String {
        format!("{}-{}", self.epoch, self.last)
    }

    /// Keeps the next event, which `build` makes for its id.
    pub fn push(&mut self, build: impl FnOnce(&str) -> Event) -> Event {
        self.last += 1;
        let event = build(&self.id());
        self.bytes += event.text.len();
        self.kept.push_back(event.clone());
        while self.kept.len() > self.bound.events || self.bytes > self.bound.bytes {
            let oldest = self.kept.pop_front();
            self.bytes -= oldest.map_or(0, |event| event.text.len());
        }
        event
    }

    /// All events after this id. `None` when that cannot be known: the id is not
    /// of this process, or some of them are gone.
    pub fn after(&self, id: &str) -> Option<impl Iterator<Item = &Event>> {
        let (epoch, number) = id.rsplit_once('-')?;
        let number: u64 = number.parse().ok()?;
        let missing = self.last.checked_sub(number)?;
        let missing = usize::try_from(missing).ok()?;
        let skipped = self.kept.len().checked_sub(missing)?;
        (epoch == self.epoch).then(|| self.kept.iter().skip(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replay(events: usize, bytes: usize) -> Replay {
        Replay::new("e".into(), Bound { events, bytes })
    }

    fn push(replay: &mut Replay, text: &str) {
        replay.push(|_| Event {
            text: text.into(),
            symbol: None,
        });
    }

    #[test]
    fn strange_ids_are_a_gap() {
        let mut replay = replay(10, 1000);
        push(&mut replay, "a");
        for id in [
            "",
            "e",
            "e-",
            "e-x",
            "e--1",
            "f-1",
            "e-2",
            "-1",
            "E-1",
            "e-99999999999999999999",
        ] {
            assert!(replay.after(id).is_none(), "{id}");
        }
        assert_eq!(replay.after("e-1").unwrap().count(), 0);
        assert_eq!(replay.after("e-0").unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn gives_all_that_came_after_or_says_that_it_cannot(
            lengths in prop::collection::vec(0usize..50, 0..60), events in 1usize..20, bytes in 0usize..400, seen in 0u64..70
        ) {
            let mut replay = replay(events, bytes);
            for length in &lengths {
                push(&mut replay, &"x".repeat(*length));
            }
            prop_assert!(replay.kept.len() <= events);
            prop_assert!(replay.kept.iter().map(|event| event.text.len()).sum::<usize>() <= bytes);
            let missed = lengths.get(usize::try_from(seen).unwrap()..);
            match (replay.after(&format!("e-{seen}")), missed) {
                (Some(events), Some(missed)) => {
                    let lengths: Vec<_> = events.map(|event| event.text.len()).collect();
                    prop_assert_eq!(&lengths, missed);
                }
                (None, Some(missed)) => {
                    let total: usize = missed.iter().sum();
                    prop_assert!(missed.len() > events || total > bytes);
                }
                (events, None) => prop_assert!(events.is_none()),
            }
        }
    }
}
