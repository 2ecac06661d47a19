//! The log in one file, `history.sqlite3`. Processes on one machine may share it:
//! `BEGIN IMMEDIATE` takes SQLite's one write lock before anything is read.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::{Failure, HistoryStore, SENDERS, Stored, page_statement};
use crate::db::lock::Lock;
use crate::db::{Error, make_folder, sqlite};
use crate::fanout::clock::Timestamp;
use crate::history::entry::{Draft, Message, Page, SHOWN, Sender};

mod migrations {
    refinery::embed_migrations!("src/history/database/migrations/sqlite");
}

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
}

/// An open file. For one thread.
pub struct SqliteHistory {
    file: LogFile,
    connection: Connection,
}

pub fn migrate(log: &LogFile) -> Result<(), Error> {
    let file = &*log.path;
    make_folder(file.parent().unwrap_or(Path::new(".")))?;
    // Neither the switch to the write-ahead log nor the migrations wait for
    // another process that does the same.
    let _one_at_a_time = Lock::wait(file, MIGRATION)?;
    sqlite::open(file, migrations::migrations::runner())?;
    if let Some(identity) = log.now() {
        log.identity.get_or_init(|| identity);
    }
    Ok(())
}

impl SqliteHistory {
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

    fn write(&mut self, batch: &mut Vec<Draft>) -> rusqlite::Result<Vec<Message>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (last_number, last_time): (i64, i64) = transaction
            .prepare_cached("SELECT last_number, last_time FROM head")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let sent_at = Timestamp::now().max(Timestamp::from_nanos(last_time));
        let mut messages = transaction
            .prepare_cached(
                "SELECT number, sender, text, sent_at, sender_count FROM messages
                 WHERE number > ?1 ORDER BY number",
            )?
            .query_map([last_number - (SHOWN as i64 - 1)], message)?
            .collect::<Result<Vec<_>, _>>()?;
        let mut number = last_number;
        let before = messages.len();
        for Draft { sender, text } in &*batch {
            number += 1;
            let sender_count = transaction
                .prepare_cached(
                    "INSERT INTO senders VALUES (?1, 1)
                     ON CONFLICT (sender) DO UPDATE SET count = count + 1 RETURNING count",
                )?
                .query_row([sender], |row| row.get(0))?;
            transaction
                .prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![number, sender, text, sent_at.nanos(), sender_count])?;
            messages.push(Message {
                sender: String::new(),
                text: String::new(),
                sent_at,
                number,
                sender_count,
            });
        }
        transaction
            .prepare_cached("UPDATE head SET last_number = ?1, last_time = ?2")?
            .execute(params![number, sent_at.nanos()])?;
        transaction.commit()?;
        for (message, draft) in messages[before..].iter_mut().zip(batch.drain(..)) {
            (message.sender, message.text) = (draft.sender, draft.text);
        }
        Ok(messages)
    }
}

impl HistoryStore for SqliteHistory {
    fn is_open(&mut self) -> bool {
        self.file.is_there()
    }

    fn append(&mut self, batch: &mut Vec<Draft>) -> Result<Vec<Message>, Failure> {
        self.write(batch).map_err(|reason| Failure {
            // A commit that could not sync may still reach the disk.
            stored: match reason.sqlite_error_code() {
                Some(rusqlite::ErrorCode::SystemIoFailure) => Stored::Unknown,
                _ => Stored::No,
            },
            reason: failed(&self.file.path)(reason),
        })
    }

    fn page(&mut self, page: Page) -> Result<Vec<Message>, Error> {
        let (statement, place) = page_statement(page.from);
        let read = || -> rusqlite::Result<Vec<Message>> {
            self.connection
                .prepare_cached(statement)?
                .query_map([place, page.limit, page.bytes], message)?
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
                .prepare_cached(SENDERS)?
                .query_map([most], sender)?
                .collect()
        };
        read().map_err(failed(&self.file.path))
    }
}

fn failed(file: &Path) -> impl Fn(rusqlite::Error) -> Error {
    |reason| Error::Sqlite {
        file: file.to_owned(),
        reason,
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        number: row.get(0)?,
        sender: row.get(1)?,
        text: row.get(2)?,
        sent_at: Timestamp::from_nanos(row.get(3)?),
        sender_count: row.get(4)?,
    })
}
