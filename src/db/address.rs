//! Connections to PostgreSQL: address, TLS, timeouts, session settings, migrations.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::SslVerifyMode;
use postgres::config::{Host, SslMode};
use postgres::{Client, Config};
use postgres_openssl::MakeTlsConnector;
use refinery::Runner;

use super::Error;
use crate::reload::Live;
use crate::tls;
use crate::tls::session::{named_in_url, take_parameters};

/// How long a start waits for other processes that migrate the schema.
const MIGRATION: Duration = Duration::from_secs(60);

/// The advisory lock for migrations; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x6d65_7373_656e_6765;

/// The parameters of TLS, which the driver knows in part or not at all.
/// Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>
const TLS_PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// What DATABASE_URL names.
#[derive(Clone, Debug)]
pub struct Address {
    config: Config,
    timeout: Duration,
    check: Check,
    files: Option<Arc<Live<tls::Client>>>,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// With `require` too: it protects from those who listen, not from those who
    /// stand between.
    Nothing,
    /// That a trusted authority has signed it.
    Chain,
    /// Also that it is for this host.
    Name,
}

impl Address {
    /// `timeout` bounds connecting and each statement; `application` is how
    /// the database's own tools call us.
    ///
    /// `sslmode`, `sslrootcert`, `sslcert` and `sslkey` mean what libpq documents.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Tls`].
    pub fn parse(url: &str, application: &str, timeout: Duration) -> Result<Self, Error> {
        let (url, mut given) = take_parameters(url, &TLS_PARAMETERS);
        let mut config: Config = url.parse().map_err(|reason| Error::Url { reason })?;
        let refused = |reason: &str| Err(Error::Tls(reason.into()));
        let mode = given.remove("sslmode");
        let system = given.get("sslrootcert").is_some_and(|ca| ca == "system");
        given.retain(|name, _| !(system && name == "sslrootcert"));
        let (mode, check) = match (mode.as_deref(), given.contains_key("sslrootcert")) {
            (Some("verify-full"), _) => (SslMode::Require, Check::Name),
            _ if system => return refused("sslrootcert=system needs sslmode=verify-full"),
            // As libpq: somebody who names an authority wants it to be asked.
            (Some("verify-ca"), _) | (Some("require"), true) => (SslMode::Require, Check::Chain),
            (Some("require"), false) => (SslMode::Require, Check::Nothing),
            (_, true) => {
                return refused("sslrootcert needs sslmode=require, verify-ca or verify-full");
            }
            (Some("disable"), false) => (SslMode::Disable, Check::Nothing),
            (Some("prefer"), false) => (SslMode::Prefer, Check::Nothing),
            (None, false) => (config.get_ssl_mode(), Check::Nothing),
            _ => {
                let reason = "sslmode has to be disable, prefer, require, verify-ca or verify-full";
                return refused(reason);
            }
        };
        config
            .ssl_mode(mode)
            .application_name(application)
            .connect_timeout(timeout)
            // A machine that vanished is given up as soon as a statement.
            .tcp_user_timeout(timeout)
            // In whole seconds, of which 0 is refused.
            .keepalives_idle(timeout.max(Duration::from_secs(1)));
        let files = named_in_url(&given, ["sslrootcert", "sslcert", "sslkey"]);
        let files = files.map_err(|error| Error::Tls(error.to_string()))?;
        Ok(Self {
            config,
            timeout,
            check,
            files,
        })
    }

    /// With the files as they are now.
    fn tls(&self) -> Result<MakeTlsConnector, Error> {
        let files = self.files.as_ref().map(|files| files.get());
        let builder = files.unwrap_or_default().connector();
        let mut builder = builder.map_err(|error| Error::Tls(error.to_string()))?;
        if self.check == Check::Nothing {
            builder.set_verify(SslVerifyMode::NONE);
        }
        let check_name = self.check == Check::Name;
        let mut connector = MakeTlsConnector::new(builder.build());
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(check_name);
            Ok(())
        });
        Ok(connector)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sets what a commit means, whatever the database's defaults are.
    pub(crate) fn connect(&self, statement_timeout: Duration) -> Result<Client, Error> {
        let tls = self.tls()?;
        let connect = || -> Result<Client, postgres::Error> {
            let mut client = self.config.connect(tls)?;
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

    /// Migrates the schema that `runner` describes; `table` holds the version
    /// it is at. Any number of processes may do so at once.
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
