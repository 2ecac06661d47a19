//! How every PostgreSQL database here is reached, whatever is in it.

use std::fmt;
use std::time::Duration;

use postgres::config::Host;
use postgres::{Client, Config, NoTls};
use refinery::Runner;

use super::Error;

/// How long a start waits for others that bring a schema up to date.
const MIGRATION: Duration = Duration::from_secs(60);

/// Which advisory lock they take; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x6d65_7373_656e_6765;

/// What DATABASE_URL names.
#[derive(Clone, Debug)]
pub struct Address {
    config: Config,
    patience: Duration,
}

impl Address {
    /// `patience` bounds connecting and each statement; `application` is how
    /// the database's own tools call us.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn parse(url: &str, application: &str, patience: Duration) -> Result<Self, Error> {
        let mut config: Config = url.parse().map_err(|reason| Error::Url { reason })?;
        config
            .application_name(application)
            .connect_timeout(patience)
            // A machine that vanished is given up as soon as a statement.
            .tcp_user_timeout(patience)
            .keepalives_idle(patience);
        Ok(Self { config, patience })
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// What a commit means must not depend on how the database is set up.
    pub(crate) fn connect(&self, statement_timeout: Duration) -> Result<Client, Error> {
        let connect = || -> Result<Client, postgres::Error> {
            let mut client = self.config.connect(NoTls)?;
            client.batch_execute(&format!(
                "SET synchronous_commit = on;
                 SET default_transaction_isolation = 'read committed';
                 SET statement_timeout = {}",
                statement_timeout.as_millis()
            ))?;
            Ok(client)
        };
        connect().map_err(self.failed())
    }

    /// Brings the schema that `runner` describes up to date; `table` says how
    /// far it is. Any number of processes may do so at once.
    ///
    /// # Errors
    /// No database, or a schema that is newer than this program.
    pub(crate) fn migrate(&self, mut runner: Runner, table: &str) -> Result<(), Error> {
        let mut client = self.connect(MIGRATION)?;
        // Let go when the connection ends, however it ends.
        client
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .map_err(self.failed())?;
        runner.set_migration_table_name(table);
        let migrated = runner.run(&mut client);
        migrated.map(drop).map_err(|reason| Error::PostgresSchema {
            database: self.to_string(),
            reason: Box::new(reason),
        })
    }

    pub(crate) fn failed(&self) -> impl Fn(postgres::Error) -> Error + use<> {
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
