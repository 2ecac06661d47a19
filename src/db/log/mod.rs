//! An ordered log in a database that several processes share.
//!
//! The database serialises appends: every batch is one transaction that first takes a
//! lock, whichever process it comes from. Numbers, counts and dates come from rows that
//! are read under that lock, so a rollback takes its numbers back too. Nothing is
//! changed by an append, only added: what readers anywhere hold on to costs nothing.
//!
//! It must not know what a text means, nor who asks. The tables are the service's, by
//! its migrations.

pub mod entry;
mod keeper;
mod postgres;
mod sqlite;

pub use entry::{Appended, BEFORE, Draft, Entry, From, Page, Placed, Retain, Sender};
pub use keeper::Keeper;
pub use postgres::{Epoch, PostgresLog, Table};
pub use sqlite::{LogFile, SqliteLog};

use super::Error;

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

    /// Does what is to be done from time to time: removes what is not retained, at most
    /// so many entries, and counts the senders where an append does not. Returns whether
    /// there is more to do. Any number of processes may call it.
    ///
    /// # Errors
    /// What the database says.
    fn keep(&mut self, retain: Retain, most: i64) -> Result<bool, Error>;
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
fn page_statement(table: &str, counts: bool, from: From) -> (String, i64) {
    let (place, beyond, order) = match from {
        From::End => (i64::MAX, '<', "DESC"),
        From::Before(number) => (number, '<', "DESC"),
        From::After(number) => (number, '>', "ASC"),
    };
    let count = if counts {
        "sender_count"
    } else {
        "CAST(0 AS bigint) AS sender_count"
    };
    let statement = format!(
        "SELECT number, sender, text, sent_at, sender_count FROM (
         SELECT part.*, sum(own) OVER (ORDER BY number {order} ROWS UNBOUNDED PRECEDING) AS bytes
         FROM (SELECT number, sender, text, sent_at, {count},
         octet_length(sender) + octet_length(text) AS own FROM {table}
         WHERE number {beyond} $1 ORDER BY number {order} LIMIT $2) AS part
         ) AS measured WHERE bytes <= $3 OR bytes = own ORDER BY number"
    );
    (statement, place)
}
