//! The log in PostgreSQL, for any number of machines. The work is done by the
//! function `append_messages`, see `history/database/migrations/postgres`.

use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::{Client, Row, Statement};

use super::{Failure, HistoryStore, SENDERS, Stored, page_statement};
use crate::db::Error;
use crate::db::address::Address;
use crate::fanout::clock::Timestamp;
use crate::history::entry::{Draft, From, Message, Page, Sender};

mod migrations {
    refinery::embed_migrations!("src/history/database/migrations/postgres");
}

/// A connection that was idle for so long is checked first, so that no message is
/// lost to a closed one.
const IDLE: Duration = Duration::from_millis(500);

/// The part of the timeout after which PostgreSQL cancels a statement, so that its
/// outcome is known in time.
const STATEMENT: f64 = 0.8;

pub fn migrate(address: &Address) -> Result<(), Error> {
    address.migrate(migrations::migrations::runner(), "messenger_history_schema")
}

/// An open connection. For one thread.
pub struct PostgresHistory {
    address: Address,
    client: Client,
    used: Instant,
    append: Statement,
    back: Statement,
    onwards: Statement,
    senders: Statement,
}

impl PostgresHistory {
    pub fn open(address: &Address) -> Result<Self, Error> {
        let mut client = address.connect(address.timeout().mul_f64(STATEMENT))?;
        let mut prepare = |sql: &str| client.prepare(sql).map_err(address.failed());
        Ok(Self {
            append: prepare("SELECT * FROM append_messages($1, $2)")?,
            back: prepare(page_statement(From::End).0)?,
            onwards: prepare(page_statement(From::After(0)).0)?,
            senders: prepare(SENDERS)?,
            address: address.clone(),
            client,
            used: Instant::now(),
        })
    }
}

impl HistoryStore for PostgresHistory {
    fn is_open(&mut self) -> bool {
        // A round trip that a busy connection does without.
        let idle = std::mem::replace(&mut self.used, Instant::now()).elapsed();
        idle < IDLE || self.client.is_valid(self.address.timeout()).is_ok()
    }

    fn append(&mut self, batch: Vec<Draft>) -> Result<Vec<Message>, Failure> {
        let senders: Vec<_> = batch.iter().map(|draft| &*draft.sender).collect();
        let texts: Vec<_> = batch.iter().map(|draft| &*draft.text).collect();
        let rows = self.client.query(&self.append, &[&senders, &texts]);
        let rows = rows.map_err(|reason| Failure {
            stored: stored(&reason),
            reason: self.address.failed()(reason),
        })?;
        let read = |rows: Vec<Row>| -> Result<Vec<Message>, postgres::Error> {
            let mut messages = rows.iter().map(message).collect::<Result<Vec<_>, _>>()?;
            messages.sort_unstable_by_key(|message| message.number);
            let before = messages.len().saturating_sub(batch.len());
            for (message, draft) in messages[before..].iter_mut().zip(batch) {
                message.text = draft.text;
            }
            Ok(messages)
        };
        read(rows).map_err(|reason| Failure {
            stored: Stored::Unknown,
            reason: self.address.failed()(reason),
        })
    }

    fn page(&mut self, page: Page) -> Result<Vec<Message>, Error> {
        let statement = match page.from {
            From::End | From::Before(_) => &self.back,
            From::After(_) => &self.onwards,
        };
        let place = page_statement(page.from).1;
        let rows = self
            .client
            .query(statement, &[&place, &page.limit, &page.bytes]);
        let read = |rows: Vec<Row>| rows.iter().map(message).collect();
        rows.and_then(read).map_err(self.address.failed())
    }

    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error> {
        let sender = |row: &Row| {
            Ok(Sender {
                sender: row.try_get(0)?,
                count: row.try_get(1)?,
            })
        };
        let rows = self.client.query(&self.senders, &[&most]);
        rows.and_then(|rows| rows.iter().map(sender).collect())
            .map_err(self.address.failed())
    }
}

/// An error that the database itself reports has rolled the transaction back,
/// unless it says that it ends the connection.
fn stored(reason: &postgres::Error) -> Stored {
    match reason.code() {
        Some(
            &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN | &SqlState::IDLE_SESSION_TIMEOUT,
        )
        | None => Stored::Unknown,
        Some(_) => Stored::No,
    }
}

/// Without its text if that is NULL.
fn message(row: &Row) -> Result<Message, postgres::Error> {
    Ok(Message {
        number: row.try_get(0)?,
        sender: row.try_get(1)?,
        text: row.try_get::<_, Option<String>>(2)?.unwrap_or_default(),
        sent_at: Timestamp::from_nanos(row.try_get(3)?),
        sender_count: row.try_get(4)?,
    })
}
