//! The table `jobs` in PostgreSQL. When the connection was lost, the next call
//! reconnects.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use crossbeam_channel::never;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{COLUMNS, JobStore, MERGE, PRUNE, RETRIED, REVIVE, Seat, select};
use crate::db::address::Address;
use crate::db::connection::{Connection, DURABLE, Parameter};
use crate::db::{Error, migrate};
use crate::fanout::clock::Timestamp;
use crate::jobs::job::{Filter, Job, State};

mod migrations {
    refinery::embed_migrations!("src/jobs/results/migrations/postgres");
}

/// Timeout of connecting, and of each statement.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Postgres {
    address: Address,
    client: Option<Connection>,
}

impl Postgres {
    pub fn open(url: &str) -> Result<Self, Error> {
        let address = Address::parse(url, "messenger jobs", TIMEOUT)?;
        // Only another process that migrates it is waited for.
        migrate(Duration::ZERO, &never(), || {
            address.migrate(migrations::migrations::runner(), "jobs_schema_history")
        })?;
        Ok(Self {
            address,
            client: None,
        })
    }

    /// Runs it on the connection, or on a new one if that was lost.
    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let live = self.client.take().filter(|client| !client.is_closed());
        let client = live.map_or_else(|| self.address.connect(), Ok)?;
        work(self.client.insert(client))
    }
}

impl JobStore for Postgres {
    fn commit(&mut self, jobs: &[Job]) -> Result<(), Error> {
        // A statement may touch a row only once. Of a job's reports in one batch
        // the first final one counts, as it would one after the other.
        let mut rows: HashMap<&str, &Job> = HashMap::new();
        for job in jobs {
            let row = rows.entry(&job.id).or_insert(job);
            if matches!(row.state, State::Queued | State::Dead) {
                *row = job;
            }
        }
        // In the order in which they came, which the list falls back to.
        let rows: Vec<_> = jobs
            .iter()
            .filter(|job| {
                rows.get(&*job.id)
                    .is_some_and(|row| std::ptr::eq(*row, *job))
            })
            .collect();
        let insert = format!(
            "INSERT INTO jobs ({COLUMNS}) SELECT it.* FROM {DURABLE}, unnest($1::text[], \
             $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], \
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]) AS it {MERGE}"
        );
        fn column<'a, T>(rows: &[&'a Job], value: impl Fn(&'a Job) -> T) -> Vec<T> {
            rows.iter().map(|job| value(job)).collect()
        }
        const TEXTS: Type = Type::TEXT_ARRAY;
        const NUMBERS: Type = Type::INT8_ARRAY;
        let nanos = |time: Option<Timestamp>| time.map(Timestamp::nanos);
        fn text(text: Option<&String>) -> Option<Cow<'_, str>> {
            text.map(|text| escaped(text))
        }
        let columns: [(Parameter<'_>, Type); 11] = [
            (&column(&rows, |job| escaped(&job.id)), TEXTS),
            (&column(&rows, |job| &*job.task), Type::BYTEA_ARRAY),
            (&column(&rows, |job| job.state.name()), TEXTS),
            (&column(&rows, |job| text(job.result.as_ref())), TEXTS),
            (&column(&rows, |job| text(job.error.as_ref())), TEXTS),
            (&column(&rows, |job| i64::from(job.attempts)), NUMBERS),
            (&column(&rows, |job| text(job.worker.as_ref())), TEXTS),
            (&column(&rows, |job| nanos(job.queued_at)), NUMBERS),
            (&column(&rows, |job| nanos(job.started_at)), NUMBERS),
            (&column(&rows, |job| nanos(job.finished_at)), NUMBERS),
            (&column(&rows, |job| job.sent_at().nanos()), NUMBERS),
        ];
        self.run(|client| client.execute(&insert, &columns))
            .map(drop)
    }

    fn find(&mut self, id: &str) -> Result<Option<Job>, Error> {
        let select = format!("SELECT {COLUMNS} FROM jobs WHERE id = $1");
        let id = escaped(id);
        let rows = self.run(|client| client.query(&select, &[(&id, Type::TEXT)]))?;
        Ok(rows.first().and_then(job))
    }

    fn revive(&mut self, ids: &[String]) -> Result<(), Error> {
        let ids: Vec<_> = ids.iter().map(|id| escaped(id)).collect();
        let revive = REVIVE.replace("$1", "ANY($1)");
        self.run(|client| client.execute(&revive, &[(&ids, Type::TEXT_ARRAY)]))
            .map(drop)
    }

    fn page(&mut self, filter: Filter, behind: Seat) -> Result<Vec<(Seat, Job)>, Error> {
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let state = filter.state.map(State::name);
        let numbers = [&limit, &behind.0, &behind.1];
        let mut arguments = numbers.map(|it| (it as Parameter<'_>, Type::INT8)).to_vec();
        arguments.extend(state.iter().map(|it| (it as Parameter<'_>, Type::TEXT)));
        let rows = self.run(|client| client.query(&select(filter), &arguments))?;
        // The schema allows no other states, so none is left out.
        let page = rows
            .iter()
            .filter_map(|row| Some(((row.get(10), row.get(11)), job(row)?)));
        Ok(page.collect())
    }

    fn retried(&mut self) -> Result<u64, Error> {
        let rows = self.run(|client| client.query(RETRIED, &[]))?;
        Ok(rows
            .first()
            .map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }

    fn prune(&mut self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let before = before.nanos();
        let given = [&before, &limit].map(|it| (it as Parameter<'_>, Type::INT8));
        self.run(|client| client.execute(PRUNE, &given))
    }
}

fn job(row: &Row) -> Option<Job> {
    let time = |column: usize| row.get::<_, Option<i64>>(column).map(Timestamp::from_nanos);
    Some(Job {
        id: restored(row.get(0)),
        task: row.get(1),
        state: State::named(row.get(2))?,
        result: text(row, 3),
        error: text(row, 4),
        attempts: u32::try_from(row.get::<_, i64>(5)).unwrap_or(u32::MAX),
        worker: text(row, 6),
        queued_at: time(7),
        started_at: time(8),
        finished_at: time(9),
    })
}

/// PostgreSQL's texts take no U+0000: it is written as this character and 0, and this
/// character itself, which stands for no text anywhere (Unicode's chapter 23.7), with 1.
const ESCAPE: char = '\u{fdd0}';

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return text.into();
    }
    let marked = text.replace(ESCAPE, "\u{fdd0}1");
    marked.replace('\0', "\u{fdd0}0").into()
}

fn restored(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let marked = text.replace("\u{fdd0}0", "\0");
    marked.replace("\u{fdd0}1", "\u{fdd0}")
}

fn text(row: &Row, column: usize) -> Option<String> {
    row.get::<_, Option<String>>(column).map(restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_text_comes_back(text in "[\u{0}\u{fdd0}01a]{0,9}") {
            let stored = escaped(&text).into_owned();
            assert!(!stored.contains('\0'));
            assert_eq!(restored(stored), text);
        }
    }
}
