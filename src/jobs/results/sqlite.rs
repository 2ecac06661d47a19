//! `jobs.sqlite3` in the data folder.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use super::{COLUMNS, JobStore, MERGE, PRUNE, RETRIED, REVIVE, Seat, select};
use crate::db::lock::Lock;
use crate::db::{Error, OPENING, make_folder, sqlite};
use crate::fanout::clock::Timestamp;
use crate::jobs::job::{Filter, Job, State};

mod migrations {
    refinery::embed_migrations!("src/jobs/results/migrations/sqlite");
}

pub struct Sqlite {
    file: PathBuf,
    connection: Connection,
}

impl Sqlite {
    pub fn open(folder: &Path) -> Result<Self, Error> {
        make_folder(folder)?;
        let file = folder.join("jobs.sqlite3");
        // Two processes that start together would both bring the schema up.
        let _opening = Lock::wait(&file, OPENING)?;
        let connection = sqlite::open(&file, migrations::migrations::runner())?;
        Ok(Self { file, connection })
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let file = self.file.clone();
        move |reason| Error::Sqlite {
            file: file.clone(),
            reason,
        }
    }
}

impl JobStore for Sqlite {
    fn commit(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let failed = self.failed();
        let insert = format!(
            "INSERT INTO jobs ({COLUMNS}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) {MERGE}"
        );
        let mut written = || -> rusqlite::Result<()> {
            let transaction = self
                .connection
                .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let mut statement = transaction.prepare_cached(&insert)?;
            for job in jobs {
                statement.execute(params![
                    job.id,
                    job.task,
                    job.state.name(),
                    job.result,
                    job.error,
                    job.attempts,
                    job.worker,
                    job.queued_at.map(Timestamp::nanos),
                    job.started_at.map(Timestamp::nanos),
                    job.finished_at.map(Timestamp::nanos),
                    job.sent_at().nanos(),
                ])?;
            }
            drop(statement);
            transaction.commit()
        };
        written().map_err(failed)
    }

    fn find(&mut self, id: &str) -> Result<Option<Job>, Error> {
        let failed = self.failed();
        let select = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
        let find = || {
            let mut statement = self.connection.prepare_cached(&select)?;
            statement.query_row([id], job).optional()
        };
        find().map_err(failed)
    }

    fn revive(&mut self, ids: &[String]) -> Result<(), Error> {
        let failed = self.failed();
        let mut revived = || -> rusqlite::Result<()> {
            let transaction = self
                .connection
                .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for id in ids {
                transaction.prepare_cached(REVIVE)?.execute([id])?;
            }
            transaction.commit()
        };
        revived().map_err(failed)
    }

    fn page(&mut self, filter: Filter, behind: Seat) -> Result<Vec<(Seat, Job)>, Error> {
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let state = filter.state.map(State::name);
        let mut arguments: Vec<&dyn ToSql> = vec![&limit, &behind.0, &behind.1];
        arguments.extend(state.iter().map(|state| state as &dyn ToSql));
        // SQLite numbers `$1` as it likes.
        let select = select(filter).replace('$', "?");
        let listed = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare_cached(&select)?;
            let row = |row: &Row<'_>| Ok(((row.get(10)?, row.get(11)?), job(row)?));
            statement.query_map(arguments.as_slice(), row)?.collect()
        };
        listed().map_err(self.failed())
    }

    fn retried(&mut self) -> Result<u64, Error> {
        let count = |row: &Row<'_>| row.get::<_, i64>(0);
        let counted = self.connection.query_row(RETRIED, [], count);
        counted.map(i64::unsigned_abs).map_err(self.failed())
    }

    fn prune(&mut self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let arguments = params![before.nanos(), limit];
        let deleted = self.connection.execute(&PRUNE.replace('$', "?"), arguments);
        deleted.map(|count| count as u64).map_err(self.failed())
    }
}

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let time = |column| -> rusqlite::Result<_> {
        let nanos: Option<i64> = row.get(column)?;
        Ok(nanos.map(Timestamp::from_nanos))
    };
    Ok(Job {
        id: row.get(0)?,
        task: row.get(1)?,
        state: state(row, 2)?,
        result: row.get(3)?,
        error: row.get(4)?,
        attempts: row.get(5)?,
        worker: row.get(6)?,
        queued_at: time(7)?,
        started_at: time(8)?,
        finished_at: time(9)?,
    })
}

/// The schema allows no other names than those of [`State`].
fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let name: String = row.get(column)?;
    State::named(&name).ok_or(rusqlite::Error::InvalidQuery)
}
