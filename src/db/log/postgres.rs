//! The log in PostgreSQL, for any number of machines. The work is done by functions of
//! the service's schema, so that one call is one round trip and one transaction.

use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Appended, Draft, Entry, Failure, Log, Page, Retain, Sender, Stored, page_statement};
use crate::db::Error;
use crate::db::address::Address;
use crate::db::connection::{Connection, DURABLE, Parameter};

/// A connection that was idle for so long is checked first, so that nothing is
/// lost to a closed one.
const IDLE: Duration = Duration::from_millis(500);

/// The table of a log, with the functions `append_NAME` and `keep_NAME`.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub name: &'static str,
    /// Has the column `sender_count`, and the function `senders_of_NAME`. Without it
    /// each count reads as 0.
    pub counts: bool,
}

/// From when on the order is another one: a database that was promoted, or restored, may
/// lack the last messages of the epoch before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub name: String,
    /// Date of the last entry that it has of the epochs before.
    pub after: i64,
}

/// An open connection. For one thread.
pub struct PostgresLog {
    client: Connection,
    table: Table,
    used: Instant,
    failed: Box<dyn Fn(tokio_postgres::Error) -> Error + Send>,
}

impl PostgresLog {
    /// # Errors
    /// What the server says, or that it says nothing.
    pub fn open(address: &Address, table: Table) -> Result<Self, Error> {
        Ok(Self {
            client: address.connect()?,
            table,
            used: Instant::now(),
            failed: Box::new(address.failed()),
        })
    }

    /// All epochs of a log that has them (`epochs_of_NAME`), the one that is now last.
    /// `seen` is the date of the newest entry that this process has ever read.
    ///
    /// # Errors
    /// What the database says.
    pub fn epochs(&mut self, seen: i64) -> Result<Vec<Epoch>, Error> {
        let name = self.table.name;
        let epochs = format!("SELECT name, after FROM {DURABLE}, epochs_of_{name}($1)");
        let rows = self.client.query(&epochs, &[(&seen, Type::INT8)])?;
        let epoch = |row: &Row| {
            Ok(Epoch {
                name: row.try_get(0)?,
                after: row.try_get(1)?,
            })
        };
        let epochs: Result<_, _> = rows.iter().map(epoch).collect();
        epochs.map_err(&self.failed)
    }

    /// The number of the last entry up to this date (`number_in_NAME`); `None` if some
    /// that came later are gone.
    ///
    /// # Errors
    /// What the database says.
    pub fn number_at(&mut self, date: i64) -> Result<Option<i64>, Error> {
        let number = format!("SELECT * FROM number_in_{}($1)", self.table.name);
        let rows = self.client.query(&number, &[(&date, Type::INT8)])?;
        let number = rows.first().map(|row| row.try_get(0));
        number.transpose().map_err(&self.failed)
    }

    /// The number of the entry with the key of each draft; and the others.
    fn appended(&self, rows: &[Row], drafts: usize) -> Result<(Vec<Entry>, Known), Error> {
        let (mut entries, mut known) = (Vec::with_capacity(rows.len()), vec![None; drafts]);
        for row in rows {
            let place: Option<i64> = row.try_get(5).map_err(&self.failed)?;
            match place.and_then(|place| usize::try_from(place - 1).ok()) {
                None => entries.push(entry(row).map_err(&self.failed)?),
                Some(place) => known[place] = Some(row.try_get(0).map_err(&self.failed)?),
            }
        }
        entries.sort_unstable_by_key(|entry| entry.number);
        Ok((entries, known))
    }
}

type Known = Vec<Option<i64>>;

impl Log for PostgresLog {
    fn is_open(&mut self) -> bool {
        // A round trip that a busy connection does without.
        let idle = std::mem::replace(&mut self.used, Instant::now()).elapsed();
        idle < IDLE || self.client.is_open()
    }

    fn append(&mut self, batch: &mut Vec<Draft>) -> Result<Appended, Failure> {
        let senders: Vec<_> = batch.iter().map(|draft| &*draft.sender).collect();
        let texts: Vec<_> = batch.iter().map(|draft| &*draft.text).collect();
        let keys: Vec<_> = batch.iter().map(|draft| draft.key.as_deref()).collect();
        let keys = keys.iter().any(Option::is_some).then_some(keys);
        let name = self.table.name;
        let append = format!("SELECT it.* FROM {DURABLE}, append_{name}($1, $2, $3) AS it");
        let given: [Parameter<'_>; 3] = [&senders, &texts, &keys];
        let given = given.map(|array| (array, Type::TEXT_ARRAY));
        let rows = self
            .client
            .query(&append, &given)
            .map_err(|reason| Failure {
                stored: if reason.is_rolled_back() {
                    Stored::No
                } else {
                    Stored::Unknown
                },
                reason,
            })?;
        let read = self.appended(&rows, batch.len());
        let (entries, known) = read.map_err(|reason| Failure {
            stored: Stored::Unknown,
            reason,
        })?;
        Ok(Appended::new(entries, &known, batch))
    }

    fn page(&mut self, page: Page) -> Result<Vec<Entry>, Error> {
        let (statement, place) = page_statement(self.table.name, self.table.counts, page.from);
        let given = [&place, &page.limit, &page.bytes];
        let given = given.map(|value| (value as Parameter<'_>, Type::INT8));
        let rows = self.client.query(&statement, &given)?;
        let entries: Result<_, _> = rows.iter().map(entry).collect();
        entries.map_err(&self.failed)
    }

    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error> {
        let name = self.table.name;
        let senders = format!("SELECT sender, count FROM senders_of_{name}($1)");
        let rows = self.client.query(&senders, &[(&most, Type::INT8)])?;
        let sender = |row: &Row| {
            Ok(Sender {
                sender: row.try_get(0)?,
                count: row.try_get(1)?,
            })
        };
        let senders: Result<_, _> = rows.iter().map(sender).collect();
        senders.map_err(&self.failed)
    }

    fn keep(&mut self, retain: Retain, most: i64) -> Result<bool, Error> {
        let (name, age) = (self.table.name, retain.age());
        let given: [Parameter<'_>; 4] = [&most, &retain.newest, &age, &retain.bytes];
        let given = given.map(|number| (number, Type::INT8));
        let (bytes, count) = retain.bytes.map_or(("", 3), |_| (", $4", 4));
        let keep = format!("SELECT keep_{name}($1, $2, $3{bytes})");
        let rows = self.client.query(&keep, &given[..count])?;
        let more = rows.first().map(|row| row.try_get(0)).transpose();
        Ok(more.map_err(&self.failed)?.unwrap_or(false))
    }
}

/// Without its text if that is NULL.
fn entry(row: &Row) -> Result<Entry, tokio_postgres::Error> {
    Ok(Entry {
        number: row.try_get(0)?,
        sender: row.try_get(1)?,
        text: row.try_get::<_, Option<String>>(2)?.unwrap_or_default(),
        sent_at: row.try_get(3)?,
        sender_count: row.try_get(4)?,
    })
}
