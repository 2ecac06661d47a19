//! An ordered log in a database that several processes share.
//!
//! The database serialises appends: every batch is one transaction that first takes a
//! lock, whichever process it comes from. Numbers, counts and dates come from rows that
//! are read under that lock, so a rollback takes its numbers back too. Nothing is
//! changed by an append, only added: what readers anywhere hold on to costs nothing.
//!
//! It must not know what a text means, nor who asks. The tables are the service's, by
//! its migrations.

mod postgres;
mod sqlite;

pub use postgres::PostgresLog;
pub use sqlite::{LogFile, SqliteLog};

use super::Error;

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
    fn new(mut entries: Vec<Entry>, known: &[Option<i64>], batch: &mut Vec<Draft>) -> Self {
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

/// One connection to a log, for one thread. After an error it is to be dropped, and
/// another one opened.
pub trait Log: Send {
    /// Whether the connection is still open. Asks the database if it was idle.
    fn is_open(&mut self) -> bool;

    /// Appends the batch in its order, in one transaction, which is durable when
    /// this returns; the batch is empty then. What has a key that is in the log
    /// already is left out. A batch that has one key twice may be refused as a whole,
    /// as one with data that cannot be stored: then each has to come by itself.
    ///
    /// # Errors
    /// What the database says; then it depends on [`Failure::stored`].
    fn append(&mut self, batch: &mut Vec<Draft>) -> Result<Appended, Failure>;

    /// A part of the log, oldest first, at most its bytes or one entry.
    ///
    /// # Errors
    /// What the database says.
    fn page(&mut self, page: Page) -> Result<Vec<Entry>, Error>;

    /// The senders with the most entries, at most so many.
    ///
    /// # Errors
    /// What the database says.
    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error>;

    /// Does what is to be done from time to time, for at most so many entries. Returns
    /// whether there is more to do. Any number of processes may call it.
    ///
    /// # Errors
    /// What the database says.
    fn keep(&mut self, most: i64) -> Result<bool, Error>;
}

/// Why a batch was not appended, and whether it may be stored.
#[derive(Debug)]
pub struct Failure {
    pub reason: Error,
    pub stored: Stored,
}

/// Whether a failed batch is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// No: the transaction was rolled back.
    No,
    /// All of it or nothing: the connection was lost before the database answered.
    Unknown,
}

impl Failure {
    /// The database refuses the entries, and works.
    pub fn is_of_the_data(&self) -> bool {
        self.stored == Stored::No && self.reason.is_of_the_data()
    }
}

/// The statement for a page of this table, in both dialects, and its first parameter;
/// the other two are the limit and the bytes.
fn page_statement(table: &str, from: From) -> (String, i64) {
    let (place, beyond, order) = match from {
        From::End => (i64::MAX, '<', "DESC"),
        From::Before(number) => (number, '<', "DESC"),
        From::After(number) => (number, '>', "ASC"),
    };
    let statement = format!(
        "SELECT number, sender, text, sent_at, sender_count FROM (
         SELECT part.*, row_number() OVER (ORDER BY number {order}) AS nth,
         sum(octet_length(sender) + octet_length(text)) OVER (ORDER BY number {order}) AS bytes
         FROM (SELECT number, sender, text, sent_at, sender_count FROM {table}
         WHERE number {beyond} $1 ORDER BY number {order} LIMIT $2) AS part
         ) AS measured WHERE nth = 1 OR bytes <= $3 ORDER BY number"
    );
    (statement, place)
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
