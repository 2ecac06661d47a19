//! The log in one file. Processes on one machine may share it: `BEGIN IMMEDIATE` takes
//! SQLite's one write lock before anything is read. The tables are `messages` and
//! `senders`, which has the count of each.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use chrono::Utc;
use refinery::Runner;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::{
    Appended, BEFORE, Draft, Entry, Failure, Log, Page, Retain, Sender, Stored, page_statement,
};
use crate::db::lock::Lock;
use crate::db::{Error, make_folder, sqlite};

/// How long a start waits for other processes that migrate the schema.
const MIGRATION: Duration = Duration::from_secs(60);

/// How long to poll for the write lock, and how often. SQLite's own waits grow to
/// 100 ms, so processes that commit often would starve the others.
const BUSY: (i32, Duration) = (10_000, Duration::from_micros(500));

/// The file that was there at the start. SQLite goes on in one that was deleted.
#[derive(Clone, Debug)]
pub struct LogFile {
    pub path: PathBuf,
    /// Device and inode, from the first migration on.
    identity: Arc<OnceLock<(u64, u64)>>,
}

impl LogFile {
    pub fn new(path: PathBuf) -> Self {
        let identity = Arc::default();
        Self { path, identity }
    }

    fn now(&self) -> Option<(u64, u64)> {
        let file = std::fs::metadata(&self.path).ok()?;
        Some((file.dev(), file.ino()))
    }

    fn is_there(&self) -> bool {
        self.identity.get().copied() == self.now()
    }

    /// Makes the schema, or brings it up to date. Any number of processes may do so at
    /// once.
    ///
    /// # Errors
    /// No file, or a schema that is newer than this program.
    pub fn migrate(&self, migrations: Runner) -> Result<(), Error> {
        let file = &*self.path;
        make_folder(file.parent().unwrap_or(Path::new(".")))?;
        // Neither the switch to the write-ahead log nor the migrations wait for
        // another process that does the same.
        let _one_at_a_time = Lock::wait(file, MIGRATION)?;
        sqlite::open(file, migrations)?;
        if let Some(identity) = self.now() {
            self.identity.get_or_init(|| identity);
        }
        Ok(())
    }
}

/// An open file. For one thread.
pub struct SqliteLog {
    file: LogFile,
    connection: Connection,
}

impl SqliteLog {
    /// # Errors
    /// A file that was replaced, or what SQLite says.
    pub fn open(log: &LogFile) -> Result<Self, Error> {
        let file = &*log.path;
        if !log.is_there() {
            return Err(Error::Replaced {
                file: file.to_owned(),
            });
        }
        let connection = sqlite::connect(file).and_then(|mut connection| {
            let busy = |tries| {
                thread::sleep(BUSY.1);
                tries < BUSY.0
            };
            let set = connection.busy_handler(Some(busy));
            set.map(|()| connection).map_err(failed(file))
        })?;
        Ok(Self {
            file: log.clone(),
            connection,
        })
    }

    fn write(&mut self, batch: &mut Vec<Draft>) -> rusqlite::Result<Appended> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut entries = transaction
            .prepare_cached(
                "SELECT number, sender, text, sent_at, sender_count FROM messages
                 ORDER BY number DESC LIMIT ?1",
            )?
            .query_map([BEFORE], entry)?
            .collect::<Result<Vec<_>, _>>()?;
        entries.reverse();
        let (mut number, last_time) = entries.last().map_or((0, 0), |it| (it.number, it.sent_at));
        let sent_at = now().max(last_time);
        let mut all_known = Vec::with_capacity(batch.len());
        for Draft { sender, text, key } in &*batch {
            let known: Option<i64> = match key {
                None => None,
                Some(_) => transaction
                    .prepare_cached(
                        "SELECT iif(sender = ?2 AND text = ?3, number, 0) FROM messages
                         WHERE key = ?1",
                    )?
                    .query_row(params![key, sender, text], |row| row.get(0))
                    .optional()?,
            };
            all_known.push(known);
            if known.is_some() {
                continue;
            }
            number += 1;
            let sender_count = transaction
                .prepare_cached(
                    "INSERT INTO senders VALUES (?1, 1)
                     ON CONFLICT (sender) DO UPDATE SET count = count + 1 RETURNING count",
                )?
                .query_row([sender], |row| row.get(0))?;
            transaction
                .prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![number, sender, text, sent_at, sender_count, key])?;
            entries.push(Entry {
                number,
                sender: String::new(),
                text: String::new(),
                sent_at,
                sender_count,
            });
        }
        transaction.commit()?;
        Ok(Appended::new(entries, &all_known, batch))
    }
}

impl Log for SqliteLog {
    fn is_open(&mut self) -> bool {
        self.file.is_there()
    }

    fn append(&mut self, batch: &mut Vec<Draft>) -> Result<Appended, Failure> {
        self.write(batch).map_err(|reason| Failure {
            // A commit that could not sync may still reach the disk.
            stored: match reason.sqlite_error_code() {
                Some(rusqlite::ErrorCode::SystemIoFailure) => Stored::Unknown,
                _ => Stored::No,
            },
            reason: failed(&self.file.path)(reason),
        })
    }

    fn page(&mut self, page: Page) -> Result<Vec<Entry>, Error> {
        let (statement, place) = page_statement("messages", true, page.from);
        let read = || -> rusqlite::Result<Vec<Entry>> {
            self.connection
                .prepare_cached(&statement)?
                .query_map([place, page.limit, page.bytes], entry)?
                .collect()
        };
        read().map_err(failed(&self.file.path))
    }

    fn senders(&mut self, most: i64) -> Result<Vec<Sender>, Error> {
        let read = || -> rusqlite::Result<Vec<Sender>> {
            let sender = |row: &Row<'_>| {
                Ok(Sender {
                    sender: row.get(0)?,
                    count: row.get(1)?,
                })
            };
            self.connection
                .prepare_cached(
                    "SELECT sender, count FROM senders ORDER BY count DESC, sender LIMIT ?1",
                )?
                .query_map([most], sender)?
                .collect()
        };
        read().map_err(failed(&self.file.path))
    }

    fn keep(&mut self, retain: Retain, most: i64) -> Result<bool, Error> {
        if !retain.has_bounds() {
            return Ok(false);
        }
        let since = retain.age().map(|age| now().saturating_sub(age));
        // Dates do not fall: what is old comes first.
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM messages WHERE number IN (
                     SELECT number FROM (SELECT number, sent_at FROM messages ORDER BY number LIMIT ?1),
                         (SELECT max(number) AS last FROM messages)
                     WHERE number < last - ?2 AND (number <= last - ?3 OR sent_at < ?4))",
            )
            .and_then(|mut delete| delete.execute(params![most, BEFORE, retain.newest, since]));
        let removed = removed.map_err(failed(&self.file.path))?;
        Ok(i64::try_from(removed).is_ok_and(|removed| removed == most))
    }
}

/// Nanoseconds since 1970.
fn now() -> i64 {
    Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX)
}

fn failed(file: &Path) -> impl Fn(rusqlite::Error) -> Error {
    |reason| Error::Sqlite {
        file: file.to_owned(),
        reason,
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        number: row.get(0)?,
        sender: row.get(1)?,
        text: row.get(2)?,
        sent_at: row.get(3)?,
        sender_count: row.get(4)?,
    })
}
