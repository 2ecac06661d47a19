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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::job::State;

    fn job(id: &str, sent_at: i64, state: State, outcome: &str) -> Job {
        let (result, error) = match state {
            State::Done => (Some(outcome.into()), None),
            _ => (None, Some(outcome.into())),
        };
        Job {
            id: id.into(),
            task: b"fact:3\0\xff".to_vec(),
            state,
            result,
            error,
            attempts: 1,
            worker: Some("w/1".into()),
            queued_at: Some(Timestamp::from_nanos(sent_at)),
            started_at: Some(Timestamp::from_nanos(sent_at + 1)),
            finished_at: None,
        }
    }

    fn all(store: &mut dyn JobStore, state: Option<State>, limit: usize) -> Vec<Job> {
        let mut jobs = Vec::new();
        // As many pages as there are jobs.
        let mut behind = FIRST;
        while jobs.len() < limit {
            let page = store.page(Filter { state, limit: 1 }, behind).unwrap();
            let Some((seat, job)) = page.into_iter().next() else {
                break;
            };
            behind = seat;
            jobs.push(job);
        }
        jobs
    }

    /// How one job ends that is reported so, one after the other or at once.
    fn outcome(reports: &[(State, &str)]) -> Job {
        let folder = tempfile::tempdir().unwrap();
        let open = || open(&Place::Folder(folder.path().to_owned())).unwrap();
        let reports = reports.iter().enumerate().map(|(index, (state, outcome))| {
            let mut job = job("a", 5, *state, outcome);
            job.started_at = Some(Timestamp::from_nanos(10 + index as i64));
            job
        });
        let reports: Vec<_> = reports.collect();
        for report in &reports {
            open().commit(std::slice::from_ref(report)).unwrap();
        }
        let [kept] = all(&mut *open(), None, 9).try_into().unwrap();
        assert_eq!(kept.started_at, Some(Timestamp::from_nanos(10)));
        kept
    }

    #[test]
    fn the_first_result_counts() {
        use State::{Dead, Done, Failed, Queued};
        for (reports, state, said) in [
            (&[(Queued, "no server"), (Done, "6")][..], Done, "6"),
            (&[(Done, "6"), (Done, "7")], Done, "6"),
            (&[(Done, "6"), (Queued, "no server")], Done, "6"),
            (&[(Failed, "wrong"), (Dead, "late")], Failed, "wrong"),
            (&[(Queued, "no server"), (Dead, "often")], Dead, "often"),
            (&[(Dead, "often"), (Done, "6")], Done, "6"),
            (&[(Dead, "often"), (Queued, "no server")], Dead, "often"),
        ] {
            let kept = outcome(reports);
            assert_eq!(kept.state, state, "{reports:?}");
            assert_eq!(
                kept.result.or(kept.error).as_deref(),
                Some(said),
                "{reports:?}"
            );
        }
    }

    #[test]
    fn lists_newest_first_and_keeps_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(&Place::Folder(folder.path().to_owned())).unwrap();
        let mut unsaid = job("c", 30, State::Failed, "wrong");
        unsaid.queued_at = None;
        let jobs = [
            job("a", 10, State::Done, "6"),
            unsaid,
            job("b", 20, State::Done, "7"),
        ];
        store.commit(&jobs).unwrap();
        let [a, c, b] = jobs;
        assert_eq!(all(&mut *store, None, 9), [c.clone(), b.clone(), a]);
        assert_eq!(all(&mut *store, Some(State::Done), 1), [b]);
        assert_eq!(all(&mut *store, Some(State::Failed), 9), [c]);
    }

    #[test]
    fn only_the_dead_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(&Place::Folder(folder.path().to_owned())).unwrap();
        let jobs = [
            job("dead", 1, State::Dead, "often"),
            job("done", 2, State::Done, "6"),
        ];
        store.commit(&jobs).unwrap();
        let ids = ["dead", "done", "nobody"].map(str::to_owned);
        store.revive(&ids).unwrap();
        let known = store.find("dead").unwrap().unwrap();
        assert_eq!((known.state, known.attempts), (State::Queued, 0));
        assert_eq!((known.error, store.retried().unwrap()), (None, 0));
        store
            .commit(&[job("x", 3, State::Queued, "no server")])
            .unwrap();
        assert_eq!(store.retried().unwrap(), 1);
        assert_eq!(store.find("done").unwrap().unwrap().state, State::Done);
        assert_eq!(store.find("nobody").unwrap(), None);
    }

    #[test]
    fn old_results_are_deleted_and_what_is_open_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(&Place::Folder(folder.path().to_owned())).unwrap();
        let jobs = [
            job("dead", 1, State::Dead, "often"),
            job("first", 2, State::Done, "6"),
            job("queued", 3, State::Queued, "no server"),
            job("second", 4, State::Failed, "wrong"),
            job("new", 5, State::Done, "6"),
        ];
        store.commit(&jobs).unwrap();
        let before = Timestamp::from_nanos(5);
        let mut deleted = || store.prune(before, 1).unwrap();
        assert_eq!([deleted(), deleted(), deleted()], [1, 1, 0]);
        let left = all(&mut *store, None, 9);
        let left: Vec<_> = left.iter().map(|job| &*job.id).collect();
        assert_eq!(left, ["new", "queued", "dead"]);
    }
}
