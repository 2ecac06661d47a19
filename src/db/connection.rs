//! A connection to PostgreSQL on which nothing waits for ever.
//!
//! The driver is a future. It runs on the thread that calls, beside a timer: a server
//! that says nothing holds the caller up for the connection's limit, and no longer.
//! Dropping a connection that was given up closes it, without a word to the server.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use postgres_openssl::MakeTlsConnector;
use refinery::{Migration, Runner};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};

use super::Error;

/// For the FROM of a statement: its commit is on the disk when it returns, whatever the
/// session is set to. Behind a pooler in transaction mode, that may be what another client
/// wanted for itself. A statement that nobody is answered for keeps the session's setting,
/// which is made with the connection.
pub const DURABLE: &str = "(SELECT set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on'
    END, true)) AS durable";

/// A parameter of a statement.
pub type Parameter<'a> = &'a (dyn ToSql + Sync);

/// For one thread. After [`Error::Silent`] it is closed.
pub struct Connection {
    client: Client,
    driver: Driver,
}

/// What drives the futures of one connection.
struct Driver {
    database: String,
    limit: Duration,
    /// `None` after a call without an answer.
    runtime: Option<Runtime>,
}

impl Connection {
    /// `connecting` bounds all of connecting, and `limit` then each call.
    pub(super) fn open(
        config: &Config,
        tls: MakeTlsConnector,
        database: String,
        connecting: Duration,
        limit: Duration,
    ) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let mut driver = Driver {
            database,
            limit,
            runtime: Some(runtime.map_err(Error::Runtime)?),
        };
        let client = driver.run(connecting, async {
            let (client, connection) = config.connect(tls).await?;
            // It ends with the runtime; what went wrong is told to who waits.
            tokio::spawn(connection);
            Ok(client)
        })?;
        Ok(Self { client, driver })
    }

    /// Whether the server answers, soon.
    pub fn is_open(&mut self) -> bool {
        let soon = self.driver.limit / 4;
        self.driver.run(soon, self.client.simple_query("")).is_ok()
    }

    /// Whether it is known to be closed; asks nobody.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.runtime.is_none()
    }

    /// Statements without parameters and rows.
    ///
    /// # Errors
    /// What the server says, or that it says nothing.
    pub fn batch(&mut self, sql: &str) -> Result<(), Error> {
        let limit = self.driver.limit;
        self.driver.run(limit, self.client.batch_execute(sql))
    }

    /// One statement in one round trip, with nothing that the server has to keep for
    /// the next one: a pooler may pass each to another backend.
    ///
    /// # Errors
    /// As [`Connection::batch`].
    pub fn query(&mut self, sql: &str, given: &[(Parameter<'_>, Type)]) -> Result<Vec<Row>, Error> {
        let limit = self.driver.limit;
        self.driver.run(limit, self.client.query_typed(sql, given))
    }

    /// As [`Connection::query`]; the number of rows that the statement has changed.
    ///
    /// # Errors
    /// As [`Connection::batch`].
    pub fn execute(&mut self, sql: &str, given: &[(Parameter<'_>, Type)]) -> Result<u64, Error> {
        let limit = self.driver.limit;
        self.driver
            .run(limit, self.client.execute_typed(sql, given))
    }

    /// Whether the schema is that of the runner, as far as this role may see.
    pub(super) fn is_current(&mut self, runner: &Runner) -> bool {
        let wanted = runner.get_migrations().iter().map(Migration::version).max();
        let last = runner.get_last_applied_migration_async(&mut self.client);
        match self.driver.wait(self.driver.limit, last) {
            Ok(Ok(last)) => last.as_ref().map(Migration::version) == wanted,
            _ => false,
        }
    }

    /// Brings the schema up to date.
    pub(super) fn migrate(&mut self, runner: &Runner) -> Result<(), Error> {
        let database = self.driver.database.clone();
        let failed = |reason| Error::PostgresSchema {
            database,
            reason: Box::new(reason),
        };
        let migrated = runner.run_async(&mut self.client);
        self.driver
            .wait(self.driver.limit, migrated)?
            .map(drop)
            .map_err(failed)
    }
}

impl Driver {
    fn run<T>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let done = self.wait(limit, work)?;
        done.map_err(|reason| Error::Postgres {
            database: self.database.clone(),
            reason,
        })
    }

    fn wait<T>(&mut self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
        let done = self.runtime.as_ref().and_then(|runtime| {
            // The timer has to be made within the runtime.
            let done = runtime.block_on(async { tokio::time::timeout(limit, work).await });
            done.ok()
        });
        done.ok_or_else(|| {
            self.end();
            Error::Silent {
                database: self.database.clone(),
                limit,
            }
        })
    }

    /// Does not wait for a name that is still looked up.
    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a connection to {}", self.driver.database)
    }
}
