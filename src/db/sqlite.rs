//! How every SQLite file here is opened: a commit is on the disk when it
//! returns, and readers do not wait for writers.

use std::path::Path;
use std::time::Duration;

use refinery::Runner;
use rusqlite::Connection;

use super::{Error, make_folder};

/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Opens or makes the file, with the schema that `migrations` describe.
///
/// # Errors
/// A folder that cannot be written, a file that is no database, or a schema
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
/// A file that cannot be written, or is no database.
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
    // FULL: the log is synced with each commit, so it survives a power cut too.
    // Source: <https://www.sqlite.org/pragma.html#pragma_synchronous>
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    Ok(connection)
}
