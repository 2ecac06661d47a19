//! SQLite files: write-ahead log with an fsync at each commit, so a commit is on
//! the disk when it returns, and readers do not wait for writers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use refinery::Runner;
use rusqlite::{Connection, Params, Row, Transaction, TransactionBehavior};

use super::lock::Lock;
use super::{Error, OPENING, make_folder};

/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Opens or makes the file, with the schema that `migrations` describe.
///
/// # Errors
/// A folder that cannot be written, a file that is not a database, or a schema
/// that is newer than this program.
pub fn open(file: &Path, migrations: Runner) -> Result<Connection, Error> {
    make_folder(file.parent().unwrap_or(Path::new(".")))?;
    let mut connection = connect(file)?;
    migrations
        .run(&mut connection)
        .map_err(|reason| Error::Schema {
            file: file.to_owned(),
            reason: Box::new(reason),
        })?;
    Ok(connection)
}

/// Opens or makes the file, whose schema is left as it is.
///
/// # Errors
/// A file that cannot be written, or is not a database.
pub fn connect(file: &Path) -> Result<Connection, Error> {
    let failed = |reason| Error::Sqlite {
        file: file.to_owned(),
        reason,
    };
    let connection = Connection::open(file).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(failed)?;
    // FULL: an fsync of the log at each commit, so it survives a power cut too.
    // Source: <https://www.sqlite.org/pragma.html#pragma_synchronous>
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    Ok(connection)
}

/// An open file, whose name is in each of its errors. For one thread.
pub struct File {
    path: PathBuf,
    connection: Connection,
}

impl File {
    /// Opens or makes the file, which no other process may open meanwhile.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: PathBuf, migrations: Runner) -> Result<Self, Error> {
        let connection = open(&path, migrations)?;
        Ok(Self { path, connection })
    }

    /// Opens or makes the file of this name, which several processes may use.
    ///
    /// # Errors
    /// As [`open`].
    pub fn shared(folder: &Path, name: &str, migrations: Runner) -> Result<Self, Error> {
        make_folder(folder)?;
        let path = folder.join(name);
        // Two processes that start together would both bring the schema up.
        let _opening = Lock::wait(&path, OPENING)?;
        Self::open(path, migrations)
    }

    /// Does the work as one transaction, which has SQLite's one write lock from its
    /// beginning on.
    ///
    /// # Errors
    /// What SQLite says; then nothing of it is stored.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.run(|connection| {
            let behavior = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behavior)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    /// All rows of the answer.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn select<T>(
        &mut self,
        select: &str,
        arguments: impl Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached(select)?;
            statement.query_map(arguments, row)?.collect()
        })
    }

    /// Does the work on the connection.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        work(&mut self.connection).map_err(|reason| Error::Sqlite {
            file: self.path.clone(),
            reason,
        })
    }
}
