//! Jobs and their results, in a SQLite file or in PostgreSQL. Several processes
//! may use one store at a time.

mod postgres;
mod sqlite;

use std::path::PathBuf;

use super::Error;
use crate::domain::job::{Filter, Job, State};

/// Where the jobs are.
#[derive(Clone, Debug)]
pub enum Place {
    /// `jobs.sqlite3` in this folder.
    Folder(PathBuf),
    /// A URL, `postgres://...`.
    Postgres(String),
}

/// What a worker has to know of a job that it meets again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub state: State,
    pub attempts: u32,
}

/// An open store. For one thread.
pub trait JobStore: Send {
    /// Writes the jobs as one transaction; when this returns, they are on the
    /// disk. A job that is done or failed stays as it is: the first result counts.
    ///
    /// # Errors
    /// What the database says; then none of them is written. May be called again.
    fn commit(&mut self, jobs: &[Job]) -> Result<(), Error>;

    /// What is known of the job with this id.
    ///
    /// # Errors
    /// What the database says.
    fn find(&mut self, id: &str) -> Result<Option<Known>, Error>;

    /// A dead job waits again, as if it had never been tried.
    ///
    /// # Errors
    /// What the database says.
    fn revive(&mut self, id: &str) -> Result<(), Error>;

    /// Shows the jobs, newest first, one after the other.
    ///
    /// # Errors
    /// What the database says.
    fn each(&mut self, filter: Filter, visit: &mut dyn FnMut(Job)) -> Result<(), Error>;
}

/// Opens or makes the store.
///
/// # Errors
/// A folder that cannot be written, a database that does not answer, or a schema
/// that is newer than this program.
pub fn open(place: &Place) -> Result<Box<dyn JobStore>, Error> {
    Ok(match place {
        Place::Folder(folder) => Box::new(sqlite::Sqlite::open(folder)?),
        Place::Postgres(url) => Box::new(postgres::Postgres::open(url)?),
    })
}

const COLUMNS: &str = "id, task, state, result, error, attempts, worker, \
     queued_at, started_at, finished_at, sent_at";

/// What happens to a job that is there already. It keeps the time when it was
/// first worked on.
const MERGE: &str = "ON CONFLICT (id) DO UPDATE SET \
     state = excluded.state, result = excluded.result, error = excluded.error, \
     attempts = excluded.attempts, worker = excluded.worker, \
     started_at = coalesce(jobs.started_at, excluded.started_at), \
     finished_at = excluded.finished_at \
     WHERE jobs.state = 'queued' OR (jobs.state = 'dead' AND excluded.state <> 'queued')";

const REVIVE: &str = "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL \
     WHERE id = $1 AND state = 'dead'";

/// The statement that lists; it takes the limit, and then the state if there is one.
fn select(filter: Filter) -> String {
    let condition = filter.state.map_or("", |_| "WHERE state = $2");
    format!("SELECT {COLUMNS} FROM jobs {condition} ORDER BY sent_at DESC, seq DESC LIMIT $1")
}
