//! Jobs and their results, in a SQLite file or in PostgreSQL. Several processes
//! may use one store at a time.

mod postgres;
mod sqlite;

use std::path::PathBuf;

use super::job::{Filter, Job};
use crate::db::Error;
use crate::fanout::clock::Timestamp;

/// Where the jobs are.
#[derive(Clone, Debug)]
pub enum Place {
    /// `jobs.sqlite3` in this folder.
    Folder(PathBuf),
    /// A URL, `postgres://...`.
    Postgres(String),
}

/// Where a job stands in the list: when it was sent, and the number of its row.
pub type Seat = (i64, i64);

/// Before the newest job.
pub const FIRST: Seat = (i64::MAX, i64::MAX);

/// An open store. For one thread.
pub trait JobStore: Send {
    /// Writes the jobs as one transaction; when this returns, they are on the
    /// disk. Idempotent: a job that is done or failed keeps its first result.
    ///
    /// # Errors
    /// What the database says; then none of them is written. May be retried.
    fn commit(&mut self, jobs: &[Job]) -> Result<(), Error>;

    /// The job with this id.
    ///
    /// # Errors
    /// What the database says.
    fn find(&mut self, id: &str) -> Result<Option<Job>, Error>;

    /// Turns dead jobs into queued ones, as if they had never been tried, as one
    /// transaction.
    ///
    /// # Errors
    /// What the database says.
    fn revive(&mut self, ids: &[String]) -> Result<(), Error>;

    /// The jobs behind this seat, newest first, with their seats.
    ///
    /// # Errors
    /// What the database says.
    fn page(&mut self, filter: Filter, behind: Seat) -> Result<Vec<(Seat, Job)>, Error>;

    /// How many of the oldest 1,000 queued jobs were tried before.
    ///
    /// # Errors
    /// What the database says.
    fn retried(&mut self) -> Result<u64, Error>;

    /// Deletes jobs that are done or failed and were sent before this time, the oldest
    /// `limit` of them; returns how many.
    ///
    /// # Errors
    /// What the database says.
    fn prune(&mut self, before: Timestamp, limit: usize) -> Result<u64, Error>;
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

/// What happens to a job that is stored already. It keeps the time when it was
/// first worked on.
const MERGE: &str = "ON CONFLICT (id) DO UPDATE SET \
     state = excluded.state, result = excluded.result, error = excluded.error, \
     attempts = excluded.attempts, worker = excluded.worker, \
     started_at = coalesce(jobs.started_at, excluded.started_at), \
     finished_at = excluded.finished_at \
     WHERE jobs.state = 'queued' OR (jobs.state = 'dead' AND excluded.state <> 'queued')";

const REVIVE: &str = "UPDATE jobs SET state = 'queued', error = NULL, attempts = 0, finished_at = NULL \
     WHERE state = 'dead' AND id = $1";

const RETRIED: &str = "SELECT count(error) FROM (SELECT error FROM jobs \
     WHERE state = 'queued' ORDER BY sent_at, seq LIMIT 1000) oldest";

const PRUNE: &str = "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs \
     WHERE sent_at < $1 AND state IN ('done', 'failed') ORDER BY sent_at, seq LIMIT $2)";

/// The statement that lists; it takes the limit, the seat, and then the state if there is
/// one. Each page is found in an index.
fn select(filter: Filter) -> String {
    let condition = filter.state.map_or("", |_| "AND state = $4");
    format!(
        "SELECT {COLUMNS}, seq FROM jobs WHERE (sent_at, seq) < ($2, $3) {condition} \
         ORDER BY sent_at DESC, seq DESC LIMIT $1"
    )
}
