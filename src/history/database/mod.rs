//! Where the message log is: the tables of [`crate::db::log`] in SQLite or PostgreSQL.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::db::Error;
use crate::db::address::Address;
use crate::db::log::{Log, LogFile, PostgresLog, SqliteLog, Table};

const TABLE: Table = Table {
    name: "messages",
    counts: true,
};

mod in_postgres {
    refinery::embed_migrations!("src/history/database/migrations/postgres");
}

mod in_sqlite {
    refinery::embed_migrations!("src/history/database/migrations/sqlite");
}

/// A file, or a PostgreSQL.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file; all its processes run on one machine.
    Sqlite(LogFile),
    Postgres(Box<Address>),
}

impl Database {
    /// `history.sqlite3` in this folder.
    pub fn sqlite(folder: &Path) -> Self {
        Self::Sqlite(LogFile::new(folder.join("history.sqlite3")))
    }

    /// `timeout` bounds connecting and each statement.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn postgres(url: &str, timeout: Duration) -> Result<Self, Error> {
        let address = Address::parse(url, "messenger history", timeout)?;
        Ok(Self::Postgres(Box::new(address)))
    }

    /// Makes the schema, or brings it up to date. Any number of processes may do
    /// so at once; the log may be in use by others, of the version before too.
    ///
    /// # Errors
    /// No database, or a schema that is newer than this program.
    pub fn migrate(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(file) => file.migrate(in_sqlite::migrations::runner()),
            Self::Postgres(address) => {
                let runner = in_postgres::migrations::runner();
                address.migrate(runner, "messenger_history_schema")
            }
        }
    }

    /// # Errors
    /// What the database says.
    pub fn open(&self) -> Result<Box<dyn Log>, Error> {
        Ok(match self {
            Self::Sqlite(file) => Box::new(SqliteLog::open(file)?),
            Self::Postgres(address) => Box::new(PostgresLog::open(address, TABLE)?),
        })
    }
}

/// For the log and for people: without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}
