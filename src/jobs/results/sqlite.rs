//! `jobs.sqlite3` in the data folder.

use std::path::Path;

use rusqlite::{Row, ToSql, params};

use super::{COLUMNS, JobStore, MERGE, PRUNE, RETRIED, REVIVE, Seat, select};
use crate::db::Error;
use crate::db::sqlite::File;
use crate::fanout::clock::Timestamp;
use crate::jobs::job::{Filter, Job, State};

mod migrations {
    refinery::embed_migrations!("src/jobs/results/migrations/sqlite");
}

pub struct Sqlite(File);

impl Sqlite {
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let migrations = migrations::migrations::runner();
        File::shared(folder, "jobs.sqlite3", migrations).map(Self)
    }
}

impl JobStore for Sqlite {
    fn commit(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let insert = format!(
            "INSERT INTO jobs ({COLUMNS}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) {MERGE}"
        );
        self.0.transaction(|transaction| {
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
            Ok(())
        })
    }

    fn find(&mut self, id: &str) -> Result<Option<Job>, Error> {
        let select = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
        Ok(self.0.select(&select, [id], job)?.pop())
    }

    fn revive(&mut self, ids: &[String]) -> Result<(), Error> {
        self.0.transaction(|transaction| {
            for id in ids {
                transaction.prepare_cached(REVIVE)?.execute([id])?;
            }
            Ok(())
        })
    }

    fn page(&mut self, filter: Filter, behind: Seat) -> Result<Vec<(Seat, Job)>, Error> {
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let state = filter.state.map(State::name);
        let mut arguments: Vec<&dyn ToSql> = vec![&limit, &behind.0, &behind.1];
        arguments.extend(state.iter().map(|state| state as &dyn ToSql));
        // SQLite numbers `$1` as it likes.
        let select = select(filter).replace('$', "?");
        let row = |row: &Row<'_>| Ok(((row.get(10)?, row.get(11)?), job(row)?));
        self.0.select(&select, arguments.as_slice(), row)
    }

    fn retried(&mut self) -> Result<u64, Error> {
        let count = |row: &Row<'_>| row.get::<_, i64>(0);
        let counted = self.0.run(|it| it.query_row(RETRIED, [], count));
        counted.map(i64::unsigned_abs)
    }

    fn prune(&mut self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (prune, arguments) = (PRUNE.replace('$', "?"), params![before.nanos(), limit]);
        let deleted = self.0.run(|it| it.execute(&prune, arguments))?;
        Ok(deleted as u64)
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
