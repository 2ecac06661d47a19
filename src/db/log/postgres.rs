//! The log in PostgreSQL, for any number of machines. The work is done by functions of
//! the service's schema, so that one call is one round trip and one transaction.

use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Appended, Draft, Entry, Failure, Log, Page, Retain, Sender, Stored, page_statement};
use crate::db::Error;
use crate::db::address::Address;
use crate::db::connection::{Connection, Parameter};

/// A connection that was idle for so long is checked first, so that nothing is
/// lost to a closed one.
const IDLE: Duration = Duration::from_millis(500);

/// An open connection. For one thread.
pub struct PostgresLog {
    client: Connection,
    table: &'static str,
    used: Instant,
    failed: Box<dyn Fn(tokio_postgres::Error) -> Error + Send>,
}

impl PostgresLog {
    /// The log in this table, with the functions `append_TABLE`, `keep_TABLE` and
    /// `senders_of_TABLE`.
    ///
    /// # Errors
    /// What the server says, or that it says nothing.
    pub fn open(address: &Address, table: &'static str) -> Result<Self, Error> {
        Ok(Self {
            client: address.connect()?,
            table,
            used: Instant::now(),
            failed: Box::new(address.failed()),
        })
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
        let append = format!("SELECT * FROM append_{}($1, $2, $3)", self.table);
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
        let (statement, place) = page_statement(self.table, page.from);
        let given = [&place, &page.limit, &page.bytes];
        let given = given.map(|value| (value as Parameter<'_>, Type::INT8));
        let rows = self.client.query(&statement, &given)?;
        let entries: Result<_, _> = rows.iter().map(entry).collect();
        entries.map_err(&self.failed)
    }

    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error> {
        let senders = format!("SELECT sender, count FROM senders_of_{}($1)", self.table);
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
        let keep = format!("SELECT keep_{}($1, $2, $3)", self.table);
        let age = retain.age();
        let given: [Parameter<'_>; 3] = [&most, &retain.newest, &age];
        let rows = self
            .client
            .query(&keep, &given.map(|number| (number, Type::INT8)))?;
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
