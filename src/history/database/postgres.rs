//! The log in PostgreSQL, for any number of machines. The work is done by the
//! function `append_messages`, see `history/database/migrations/postgres`.

use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Failure, HistoryStore, SENDERS, Stored, page_statement};
use crate::db::Error;
use crate::db::address::Address;
use crate::db::connection::{Connection, Parameter};
use crate::fanout::clock::Timestamp;
use crate::history::entry::{Draft, Message, Page, Sender};

mod migrations {
    refinery::embed_migrations!("src/history/database/migrations/postgres");
}

/// A connection that was idle for so long is checked first, so that no message is
/// lost to a closed one.
const IDLE: Duration = Duration::from_millis(500);

pub fn migrate(address: &Address) -> Result<(), Error> {
    address.migrate(migrations::migrations::runner(), "messenger_history_schema")
}

/// An open connection. For one thread.
pub struct PostgresHistory {
    client: Connection,
    used: Instant,
    failed: Box<dyn Fn(tokio_postgres::Error) -> Error + Send>,
}

impl PostgresHistory {
    pub fn open(address: &Address) -> Result<Self, Error> {
        Ok(Self {
            client: address.connect()?,
            used: Instant::now(),
            failed: Box::new(address.failed()),
        })
    }

    fn read<T>(
        &self,
        rows: &[Row],
        read: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, Error> {
        let rows: Result<_, _> = rows.iter().map(read).collect();
        rows.map_err(&self.failed)
    }
}

impl HistoryStore for PostgresHistory {
    fn is_open(&mut self) -> bool {
        // A round trip that a busy connection does without.
        let idle = std::mem::replace(&mut self.used, Instant::now()).elapsed();
        idle < IDLE || self.client.is_open()
    }

    fn append(&mut self, batch: &mut Vec<Draft>) -> Result<Vec<Message>, Failure> {
        let senders: Vec<_> = batch.iter().map(|draft| &*draft.sender).collect();
        let texts: Vec<_> = batch.iter().map(|draft| &*draft.text).collect();
        let append = "SELECT * FROM append_messages($1, $2)";
        let given: [(Parameter<'_>, Type); 2] =
            [(&senders, Type::TEXT_ARRAY), (&texts, Type::TEXT_ARRAY)];
        let rows = self
            .client
            .query(append, &given)
            .map_err(|reason| Failure {
                stored: if reason.is_rolled_back() {
                    Stored::No
                } else {
                    Stored::Unknown
                },
                reason,
            })?;
        let mut messages = self.read(&rows, message).map_err(|reason| Failure {
            stored: Stored::Unknown,
            reason,
        })?;
        messages.sort_unstable_by_key(|message| message.number);
        let before = messages.len().saturating_sub(batch.len());
        for (message, draft) in messages[before..].iter_mut().zip(batch.drain(..)) {
            message.text = draft.text;
        }
        Ok(messages)
    }

    fn page(&mut self, page: Page) -> Result<Vec<Message>, Error> {
        let (statement, place) = page_statement(page.from);
        let given = [&place, &page.limit, &page.bytes];
        let given = given.map(|value| (value as Parameter<'_>, Type::INT8));
        let rows = self.client.query(statement, &given)?;
        self.read(&rows, message)
    }

    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error> {
        let rows = self.client.query(SENDERS, &[(&most, Type::INT8)])?;
        self.read(&rows, |row| {
            Ok(Sender {
                sender: row.try_get(0)?,
                count: row.try_get(1)?,
            })
        })
    }
}

/// Without its text if that is NULL.
fn message(row: &Row) -> Result<Message, tokio_postgres::Error> {
    Ok(Message {
        number: row.try_get(0)?,
        sender: row.try_get(1)?,
        text: row.try_get::<_, Option<String>>(2)?.unwrap_or_default(),
        sent_at: Timestamp::from_nanos(row.try_get(3)?),
        sender_count: row.try_get(4)?,
    })
}
