//! SQLite and PostgreSQL: addresses, locks, opening and migrating. What is stored
//! is up to the service.
//!
//! It must not know any service. Every call blocks, so a store belongs to a thread
//! of its own service, never to a handler.

pub mod address;
pub mod lock;
pub mod sqlite;

use std::path::{Path, PathBuf};

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
    #[error("DATABASE_URL: {}", all(.reason))]
    Url { reason: postgres::Error },
    #[error("DATABASE_URL: {0}")]
    Tls(String),
    #[error("{database}: {}", all(.reason))]
    Postgres {
        database: String,
        reason: postgres::Error,
    },
    #[error("{database}: cannot bring the schema up to date: {}", all(.reason))]
    PostgresSchema {
        database: String,
        reason: Box<refinery::Error>,
    },
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
    /// starting or cannot be reached.
    pub fn may_pass(&self) -> bool {
        use postgres::error::SqlState;
        let Self::Postgres { reason, .. } = self else {
            return false;
        };
        match reason.code() {
            None => true,
            Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::TOO_MANY_CONNECTIONS) => true,
            Some(_) => false,
        }
    }
}

/// How long to wait for other processes that open the file at the same time.
pub const OPENING: std::time::Duration = std::time::Duration::from_secs(10);

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
