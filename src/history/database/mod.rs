//! The message log in a database that several processes share.
//!
//! The database serialises appends: every batch is one transaction that first
//! takes the lock on the one row of `head` (SQLite: on the whole file), whichever
//! process it comes from. Numbers, counts and the date come from rows that the
//! same transaction reads and writes, so a rollback takes its numbers back too.

mod postgres;
mod sqlite;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::entry::{Draft, From, Message, Page, Sender};
use crate::db::Error;
use crate::db::address::Address;

use postgres::PostgresHistory;
use sqlite::{LogFile, SqliteHistory};

/// One connection to the log, for one thread. After an error it is to be
/// dropped, and another one opened.
pub trait HistoryStore: Send {
    /// Whether the connection is still open. Asks the database if it was idle.
    fn is_open(&mut self) -> bool;

    /// Appends the batch in its order, in one transaction, which is durable when
    /// this returns. Returns the messages that come before it in the log, at most
    /// [`SHOWN`](super::entry::SHOWN) - 1, and the batch, which is empty then.
    ///
    /// # Errors
    /// What the database says; then it depends on [`Failure::stored`].
    fn append(&mut self, batch: &mut Vec<Draft>) -> Result<Vec<Message>, Failure>;

    /// A part of the log, oldest first, at most its bytes or one message.
    ///
    /// # Errors
    /// What the database says.
    fn page(&mut self, page: Page) -> Result<Vec<Message>, Error>;

    /// The senders with the most messages, at most so many.
    ///
    /// # Errors
    /// What the database says.
    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error>;
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
    /// The database refuses the messages, and works.
    pub fn is_of_the_data(&self) -> bool {
        self.stored == Stored::No && self.reason.is_of_the_data()
    }
}

/// Where the log is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file; all its processes run on one machine.
    Sqlite(LogFile),
    Postgres(Box<Address>),
}

impl Database {
    /// `history.sqlite3` in this folder.
    pub fn sqlite(folder: &Path) -> Self {
        Self::Sqlite(LogFile::new(folder.join("history.sqlite3")))
    }

    /// `timeout` bounds connecting and each statement.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn postgres(url: &str, timeout: Duration) -> Result<Self, Error> {
        let address = Address::parse(url, "messenger history", timeout)?;
        Ok(Self::Postgres(Box::new(address)))
    }

    /// Makes the schema, or brings it up to date. Any number of processes may do
    /// so at once; the log may be in use by others of this version.
    ///
    /// # Errors
    /// No database, or a schema that is newer than this program.
    pub fn migrate(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(file) => sqlite::migrate(file),
            Self::Postgres(address) => postgres::migrate(address),
        }
    }

    /// # Errors
    /// What the database says.
    pub fn open(&self) -> Result<Box<dyn HistoryStore>, Error> {
        Ok(match self {
            Self::Sqlite(file) => Box::new(SqliteHistory::open(file)?),
            Self::Postgres(address) => Box::new(PostgresHistory::open(address)?),
        })
    }
}

/// For the log and for people: without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

/// The statement for a page, in both dialects, and its first parameter; the
/// other two are the limit and the bytes.
fn page_statement(from: From) -> (&'static str, i64) {
    macro_rules! statement {
        ($beyond:literal, $order:literal) => {
            concat!(
                "SELECT number, sender, text, sent_at, sender_count FROM (
                 SELECT part.*,
                 row_number() OVER (ORDER BY number ",
                $order,
                ") AS nth,
                 sum(octet_length(sender) + octet_length(text)) OVER (ORDER BY number ",
                $order,
                ") AS bytes
                 FROM (SELECT * FROM messages WHERE number ",
                $beyond,
                " $1 ORDER BY number ",
                $order,
                " LIMIT $2) AS part
                 ) AS measured WHERE nth = 1 OR bytes <= $3 ORDER BY number"
            )
        };
    }
    let (back, onwards) = (statement!("<", "DESC"), statement!(">", "ASC"));
    match from {
        From::End => (back, i64::MAX),
        From::Before(number) => (back, number),
        From::After(number) => (onwards, number),
    }
}

const SENDERS: &str = "SELECT sender, count FROM senders ORDER BY count DESC, sender LIMIT $1";
