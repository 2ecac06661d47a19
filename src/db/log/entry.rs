//! What is in an ordered log, what is appended to it, and what is read. Pure.

use std::time::Duration;

/// How many messages from before a batch an append returns at most.
pub const BEFORE: i64 = 9;

/// What is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub sender: String,
    pub text: String,
    /// At most one entry of the log has it.
    pub key: Option<String>,
}

/// What is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub number: i64,
    pub sender: String,
    pub text: String,
    /// Nanoseconds since 1970. Never falls from one number to the next.
    pub sent_at: i64,
    /// Entries of this sender so far, this one included.
    pub sender_count: i64,
}

/// A sender and the number of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub sender: String,
    pub count: i64,
}

/// Which part of the log is read; always oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub from: From,
    /// At most so many entries, at least 1.
    pub limit: i64,
    /// Sender and text of all of them together: the page ends before the entry
    /// that would go beyond it, unless that is the first.
    pub bytes: i64,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the newest entry, back.
    End,
    /// At the entry before this number, back.
    Before(i64),
    /// At the entry after this number, onwards.
    After(i64),
}

/// What is removed from the log in time, oldest first. The newest [`BEFORE`] + 1 stay,
/// whatever this says: the next number and date follow from the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retain {
    /// All but so many of the newest.
    pub newest: Option<i64>,
    /// What is older.
    pub age: Option<Duration>,
    /// What comes before the newest ones that take so many bytes together, senders, texts and
    /// keys, about. Only of a log that counts them: `keep_NAME` has a fourth parameter.
    pub bytes: Option<i64>,
}

impl Retain {
    /// Whether anything is removed.
    pub fn has_bounds(&self) -> bool {
        *self != Self::default()
    }

    /// In nanoseconds.
    pub fn age(&self) -> Option<i64> {
        let age = self.age?.as_nanos();
        Some(i64::try_from(age).unwrap_or(i64::MAX))
    }
}

/// What became of a batch.
#[derive(Debug)]
pub struct Appended {
    /// Those from before the batch, at most [`BEFORE`], and what is new.
    pub entries: Vec<Entry>,
    /// Of each draft, in their order.
    pub placed: Vec<Placed>,
}

/// What became of one draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is appended: its index in [`Appended::entries`].
    New(usize),
    /// The entry with its key is the same, and has this number.
    Known(i64),
    /// The entry with its key is another one.
    Taken,
}

impl Appended {
    /// `known` is the number of the entry with the draft's key, 0 if that is another
    /// one, `None` if the draft is appended. Sender and text of what is new are moved
    /// from the batch into the last of the entries.
    pub fn new(mut entries: Vec<Entry>, known: &[Option<i64>], batch: &mut Vec<Draft>) -> Self {
        let new = known.iter().filter(|known| known.is_none()).count();
        let mut next = entries.len().saturating_sub(new);
        let mut place = |(draft, known): (Draft, &Option<i64>)| match known {
            Some(0) => Placed::Taken,
            Some(number) => Placed::Known(*number),
            None => {
                if let Some(entry) = entries.get_mut(next) {
                    (entry.sender, entry.text) = (draft.sender, draft.text);
                }
                next += 1;
                Placed::New(next - 1)
            }
        };
        let placed = batch.drain(..).zip(known).map(&mut place).collect();
        Self { entries, placed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_has_its_place_behind_what_was_before_and_what_is_known_has_none() {
        let entry = |number| Entry {
            number,
            sender: String::new(),
            text: String::new(),
            sent_at: 0,
            sender_count: 1,
        };
        let draft = |text: &str| Draft {
            sender: "a".into(),
            text: text.into(),
            key: None,
        };
        let mut batch = ["x", "again", "y", "other"].map(draft).to_vec();
        let entries = (7..=10).map(entry).collect();
        let appended = Appended::new(entries, &[None, Some(3), None, Some(0)], &mut batch);
        use Placed::{Known, New, Taken};
        assert_eq!(appended.placed, [New(2), Known(3), New(3), Taken]);
        let texts = appended.entries.iter().map(|entry| &*entry.text);
        assert_eq!(texts.collect::<Vec<_>>(), ["", "", "x", "y"]);
        assert!(batch.is_empty());
    }
}
