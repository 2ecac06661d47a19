//! SQLite and PostgreSQL: addresses, locks, opening and migrating. What is stored
//! is up to the service.
//!
//! It must not know any service. Every call blocks, so a store belongs to a thread
//! of its own service, never to a handler.

pub mod address;
pub mod bell;
pub mod connection;
pub mod lock;
pub mod log;
pub mod sqlite;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::retry::Retry;

/// Why a store cannot be opened, read or written. One line for people, which
/// names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the folder {folder}: {reason}", folder = .folder.display())]
    Folder {
        folder: PathBuf,
        reason: std::io::Error,
    },
    #[error("cannot use {file}: {reason}", file = .file.display())]
    File {
        file: PathBuf,
        reason: std::io::Error,
    },
    #[error("{file} is in use by another process", file = .file.display())]
    InUse { file: PathBuf },
    #[error("{file} was deleted or replaced by another file; nothing is stored until it is \
             back, or this process starts anew", file = .file.display())]
    Replaced { file: PathBuf },
    #[error("{file}: {reason}", file = .file.display())]
    Sqlite {
        file: PathBuf,
        reason: rusqlite::Error,
    },
    #[error("{file}: cannot bring the schema up to date: {reason}", file = .file.display())]
    Schema {
        file: PathBuf,
        reason: Box<refinery::Error>,
    },
    #[error("the database URL: {}", all(.reason))]
    Url { reason: tokio_postgres::Error },
    #[error("the database URL: {0}")]
    Address(String),
    #[error("{database}: {}", all(.reason))]
    Postgres {
        database: String,
        reason: tokio_postgres::Error,
    },
    #[error("{database} did not answer within {limit:?}")]
    Silent { database: String, limit: Duration },
    #[error(
        "{database}: the encoding is {encoding}, and has to be UTF8: \
         CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding { database: String, encoding: String },
    #[error(
        "{database}: another process brings the schema up to date: the advisory lock {lock} is \
         held by the backend {}", .holder.map_or("?".into(), |pid| pid.to_string())
    )]
    Migrating {
        database: String,
        lock: i64,
        holder: Option<i32>,
    },
    #[error("cannot start a connection to PostgreSQL: {0}")]
    Runtime(std::io::Error),
    #[error("{database}: cannot bring the schema up to date: {}", all(.reason))]
    PostgresSchema {
        database: String,
        reason: Box<refinery::Error>,
    },
}

/// Why a store, or the thread that owns it, does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// With its causes: the PostgreSQL client's errors leave out the database's
/// message.
fn all(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut lines: Vec<String> = causes.map(ToString::to_string).collect();
    // Some repeat their cause.
    lines.dedup_by(|cause, error| error.contains(&**cause));
    lines.join(": ")
}

impl Error {
    /// Whether it is transient: trying again may succeed, since the database is
    /// starting or cannot be reached, or somebody else migrates it.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Migrating { .. } => true,
            Self::Postgres { reason, .. } => {
                matches!(
                    reason.code(),
                    None | Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::TOO_MANY_CONNECTIONS)
                )
            }
            _ => false,
        }
    }

    /// Whether PostgreSQL itself says that it has rolled the transaction back. What ends
    /// the connection does not say so, whoever it comes from: a pooler, or a backend
    /// that had committed, and waited for its standby.
    pub fn is_rolled_back(&self) -> bool {
        self.reported().is_some_and(|error| {
            let class = error.code().code();
            error.parsed_severity() == Some(Severity::Error)
                && !class.starts_with("08")
                && !class.starts_with("57P")
        })
    }

    /// Whether the database refuses what was to be stored, and would take something else.
    pub fn is_of_the_data(&self) -> bool {
        use rusqlite::ErrorCode::{ConstraintViolation, TooBig};
        match self {
            Self::Sqlite { reason, .. } => {
                matches!(
                    reason.sqlite_error_code(),
                    Some(ConstraintViolation | TooBig)
                )
            }
            // Data exception, constraint violation, program limit exceeded.
            // Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
            _ => {
                self.is_rolled_back()
                    && self.reported().is_some_and(|error| {
                        let class = error.code().code();
                        ["22", "23", "54"].iter().any(|it| class.starts_with(it))
                    })
            }
        }
    }

    fn reported(&self) -> Option<&DbError> {
        match self {
            Self::Postgres { reason, .. } => reason.as_db_error(),
            _ => None,
        }
    }
}

/// How long to wait for other processes that open the file at the same time.
pub const OPENING: Duration = Duration::from_secs(10);

/// The first and the longest wait between two tries to reach a database.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Brings a schema up to date by this call. A database that cannot be reached is waited
/// for, at most so long, and another process that is at it too. Returns whether that was
/// done before the `stop`.
///
/// # Errors
/// What the call says last.
pub fn migrate(
    timeout: Duration,
    stop: &Receiver<()>,
    migrate: impl Fn() -> Result<(), Error>,
) -> Result<bool, Error> {
    let began = Instant::now();
    let until = |error: &Error| match error {
        Error::Migrating { .. } => began + address::MIGRATION.max(timeout),
        _ => began + timeout,
    };
    let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
    loop {
        match migrate() {
            Ok(()) => return Ok(true),
            Err(error) if error.may_pass() && Instant::now() < until(&error) => {
                if retry.is_news(&error) {
                    tracing::warn!(%error, "cannot open the database; trying again");
                }
            }
            Err(error) => return Err(error),
        }
        if retry.wait(stop).is_err() {
            return Ok(false);
        }
    }
}

/// Makes the data folder, readable for its owner only, if it is not there.
///
/// # Errors
/// [`Error::Folder`] with what the system says.
pub fn make_folder(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|reason| Error::Folder {
        folder: folder.to_owned(),
        reason,
    })
}
