//! The log in PostgreSQL, for any number of machines. The work is done by the
//! function `append_messages`, see `migrations/history/postgres`.

use std::fmt;
use std::time::{Duration, Instant};

use postgres::config::Host;
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls, Row, Statement};

use super::{Failure, HistoryStore, SENDERS, Stored, page_statement};
use crate::domain::clock::Timestamp;
use crate::domain::history::{Draft, From, Message, Page, Sender};
use crate::store::Error;

mod migrations {
    refinery::embed_migrations!("src/store/migrations/history/postgres");
}

/// How long a start waits for others that bring the schema up to date.
const MIGRATION: Duration = Duration::from_secs(60);

/// Which advisory lock they take; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x6d65_7373_656e_6765;

/// After such a rest a connection is asked whether it is still there, so that a
/// message is not lost to one that is not.
const IDLE: Duration = Duration::from_millis(500);

/// The part of the patience after which PostgreSQL gives a statement up, so that
/// what has become of it is known in time.
const STATEMENT: f64 = 0.8;

/// What DATABASE_URL names.
#[derive(Clone, Debug)]
pub struct Address {
    config: Config,
    /// Of a statement.
    patience: Duration,
}

impl Address {
    pub fn parse(url: &str, patience: Duration) -> Result<Self, Error> {
        let mut config: Config = url.parse().map_err(|reason| Error::Url { reason })?;
        config
            .application_name("messenger history")
            .connect_timeout(patience)
            // A machine that vanished is given up as soon as a statement.
            .tcp_user_timeout(patience)
            .keepalives_idle(patience);
        Ok(Self { config, patience })
    }

    /// What a commit means must not depend on how the database is set up.
    fn connect(&self, statement_timeout: Duration) -> Result<Client, Error> {
        let connect = || -> Result<Client, postgres::Error> {
            let mut client = self.config.connect(NoTls)?;
            client.batch_execute(&format!(
                "SET synchronous_commit = on;
                 SET default_transaction_isolation = 'read committed';
                 SET statement_timeout = {}",
                statement_timeout.as_millis().max(1)
            ))?;
            Ok(client)
        };
        connect().map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(postgres::Error) -> Error + use<> {
        let database = self.to_string();
        move |reason| Error::Postgres {
            database: database.clone(),
            reason,
        }
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or(ports.first()).unwrap_or(&5432);
            let comma = if index > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

pub fn migrate(address: &Address) -> Result<(), Error> {
    let mut client = address.connect(MIGRATION)?;
    // Let go when the connection ends, however it ends.
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .map_err(address.failed())?;
    let mut runner = migrations::migrations::runner();
    runner.set_migration_table_name("messenger_history_schema");
    let migrated = runner.run(&mut client);
    migrated.map(drop).map_err(|reason| Error::PostgresSchema {
        database: address.to_string(),
        reason: Box::new(reason),
    })
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
        let mut client = address.connect(address.patience.mul_f64(STATEMENT))?;
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
        idle < IDLE || self.client.is_valid(self.address.patience).is_ok()
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
            .query(statement, &[&place, &page.limit, &Page::BYTES]);
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
