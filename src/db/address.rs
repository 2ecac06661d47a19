//! Connections to PostgreSQL: address, TLS, timeouts, session settings, migrations.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::SslVerifyMode;
use postgres_openssl::MakeTlsConnector;
use refinery::Runner;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::types::Type;
use tokio_postgres::{Config, Row};

use super::Error;
use super::connection::Connection;
use crate::reload::Live;
use crate::tls;
use crate::tls::session::{named_in_url, take_parameters};

/// How long a migration may take, and how long a start waits for one of another process.
pub const MIGRATION: Duration = Duration::from_secs(60);

/// The parts of the timeout after which PostgreSQL cancels a statement, and after which
/// the connection is given up: the outcome is known in time, or there is time for others.
const STATEMENT: f64 = 0.8;
const CALL: f64 = 0.9;

const SECOND: Duration = Duration::from_secs(1);

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
    /// [`Error::Url`], [`Error::Address`].
    pub fn parse(url: &str, application: &str, timeout: Duration) -> Result<Self, Error> {
        let server = url.split('?').next().unwrap_or_default();
        if server.contains("://") && server.matches('@').count() > 1 {
            // What comes after the first one would be taken for the host, and be shown.
            let reason = "an @ in the user or the password has to be written as %40";
            return Err(Error::Address(reason.into()));
        }
        let (url, mut given) = take_parameters(url, &TLS_PARAMETERS);
        let mut config: Config = url.parse().map_err(|reason| Error::Url { reason })?;
        let refused = |reason: &str| Err(Error::Address(reason.into()));
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
        let hosts = config.get_hosts().len().max(1);
        config
            .ssl_mode(mode)
            .application_name(application)
            // One host that is gone leaves time for the others.
            .connect_timeout(timeout / u32::try_from(hosts).unwrap_or(1))
            // A machine that vanished is given up as soon as a statement. The kernel
            // takes whole seconds, of which 0 is refused.
            .tcp_user_timeout(timeout)
            .keepalives_idle(timeout.max(SECOND))
            .keepalives_interval((timeout / 3).max(SECOND))
            .keepalives_retries(2);
        if hosts > 1 && !url.contains("target_session_attrs") {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let files = named_in_url(&given, ["sslrootcert", "sslcert", "sslkey"]);
        let files = files.map_err(|error| Error::Address(error.to_string()))?;
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
        let mut builder = builder.map_err(|error| Error::Address(error.to_string()))?;
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

    /// # Errors
    /// What the server says, or that it says nothing.
    pub(crate) fn connect(&self) -> Result<Connection, Error> {
        self.connect_for(self.timeout.mul_f64(STATEMENT), self.timeout.mul_f64(CALL))
    }

    /// For a session that waits for notifications, with no limit to its statements.
    pub(super) fn listening(&self) -> Result<(Config, MakeTlsConnector), Error> {
        Ok((self.config.clone(), self.tls()?))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sets what a commit means, whatever the server's defaults are; a stricter one stays.
    fn connect_for(&self, statement: Duration, call: Duration) -> Result<Connection, Error> {
        // In the start packet, for a pooler in transaction mode would pass a SET on to
        // the next client of the backend.
        let given = self.config.get_options().unwrap_or_default();
        let mut config = self.config.clone();
        config.options(format!(
            "{given} -c statement_timeout={} -c default_transaction_isolation=read\\ committed",
            statement.as_millis().max(1)
        ));
        let (name, tls) = (self.to_string(), self.tls()?);
        let mut connection = Connection::open(&config, tls, name, self.timeout, call)?;
        let settings = "SELECT current_setting('server_encoding'), CASE
             WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
             THEN set_config('synchronous_commit', 'on', false) END";
        let settings = connection.query(settings, &[])?;
        let encoding = settings.first().map(|row| row.try_get(0));
        match encoding.transpose() {
            Ok(Some("UTF8")) => Ok(connection),
            Ok(encoding) => Err(Error::Encoding {
                database: self.to_string(),
                encoding: encoding.unwrap_or_default().to_owned(),
            }),
            Err(reason) => Err(self.failed()(reason)),
        }
    }

    /// Migrates the schema that `runner` describes; `table` holds the version
    /// it is at. Any number of processes may do so at once: all but one get
    /// [`Error::Migrating`]. A schema that is current is only read.
    ///
    /// # Errors
    /// No database, or a schema that is newer than this program.
    pub(crate) fn migrate(&self, mut runner: Runner, table: &str) -> Result<(), Error> {
        runner.set_migration_table_name(table);
        let mut client = self.connect_for(MIGRATION, MIGRATION)?;
        if client.is_current(&runner) {
            return Ok(());
        }
        // Held by an open transaction, which a pooler leaves on its backend, and which
        // ends with its connection, however that ends.
        let mut lock = self.connect()?;
        lock.batch("BEGIN")?;
        let taken = lock.query(
            "SELECT pg_try_advisory_xact_lock($1), (SELECT min(pid) FROM pg_locks
             WHERE locktype = 'advisory' AND granted AND objsubid = 1
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND classid::bigint = $1 >> 32 AND objid::bigint = $1 & 4294967295)",
            &[(&MIGRATION_LOCK, Type::INT8)],
        )?;
        let read = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        let taken = taken.first().map(read).transpose();
        match taken.map_err(self.failed())? {
            Some((true, _)) => client.migrate(&runner),
            other => Err(Error::Migrating {
                database: self.to_string(),
                lock: MIGRATION_LOCK,
                holder: other.and_then(|(_, holder)| holder),
            }),
        }
    }

    pub(crate) fn failed(&self) -> impl Fn(tokio_postgres::Error) -> Error + use<> {
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
