//! The tables of `queue.sqlite3`.

use std::path::Path;

use rusqlite::{Row, Transaction, params};

use super::consumers::Consumer;
use super::{EPOCH, Settled};
use crate::db::{Error, sqlite};
use crate::fanout::clock::Timestamp;
use crate::jobs::queue::{DeadLetter, Delivery, Depth, Outgoing, Token};

mod migrations {
    refinery::embed_migrations!("src/jobs/queue/embedded/migrations/sqlite");
}

pub struct File {
    tables: sqlite::File,
    /// Whether a commit does an fsync.
    synced: bool,
}

const WAITING: &str = "owner IS NULL AND reason IS NULL";

impl File {
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let migrations = migrations::migrations::runner();
        Ok(Self {
            tables: sqlite::File::shared(folder, "queue.sqlite3", migrations)?,
            synced: true,
        })
    }

    /// Adds tasks, removes or dead-letters those that are settled, frees those of
    /// dead consumers, and claims as many for the consumer as there is room for:
    /// all of it or nothing. When this returns, tasks that were added are on the
    /// disk (fsync). The rest survives a crash of this process, and is synced with
    /// the next task that is added: if the machine fails before, tasks are
    /// redelivered, which is idempotent, since their results are stored.
    pub fn write(
        &mut self,
        tasks: &[&Outgoing],
        settled: &[Settled],
        consumer: Option<(&str, usize)>,
        left: &[Consumer],
    ) -> Result<Vec<Delivery>, Error> {
        let idle = consumer.is_none_or(|(_, room)| room == 0) && left.is_empty();
        if idle && tasks.is_empty() && settled.is_empty() {
            return Ok(Vec::new());
        }
        self.sync(!tasks.is_empty())?;
        self.tables.transaction(|transaction| {
            for task in tasks {
                let insert = "INSERT INTO tasks (id, body, queued_at) VALUES (?1, ?2, ?3)";
                let values = params![task.id, task.body, task.queued_at.nanos()];
                transaction.prepare_cached(insert)?.execute(values)?;
            }
            let name = consumer.map_or("", |(name, _)| name);
            for settled in settled {
                settle(transaction, name, settled)?;
            }
            for left in left {
                let free = "UPDATE tasks SET owner = NULL WHERE owner = ?1";
                transaction.execute(free, [&left.name])?;
            }
            consumer.map_or(Ok(Vec::new()), |(name, room)| {
                claim(transaction, name, room)
            })
        })
    }

    /// All consumers that have tasks.
    pub fn owners(&mut self) -> Result<Vec<String>, Error> {
        let select = "SELECT DISTINCT owner FROM tasks WHERE owner IS NOT NULL";
        self.tables.select(select, [], |row| row.get(0))
    }

    /// Frees everything that this consumer has.
    pub fn release(&mut self, consumer: &str) -> Result<(), Error> {
        let free = "UPDATE tasks SET owner = NULL WHERE owner = ?1";
        let freed = self.tables.run(|it| it.execute(free, [consumer]));
        freed.map(drop)
    }

    pub fn depth(&mut self) -> Result<Depth, Error> {
        let select = format!(
            "SELECT (SELECT count(*) FROM tasks WHERE {WAITING}), \
             (SELECT count(*) FROM tasks WHERE reason IS NOT NULL)"
        );
        let depth = |row: &Row<'_>| {
            Ok(Depth {
                waiting: count(row, 0)?,
                consumers: 0,
                dead: count(row, 1)?,
            })
        };
        self.tables.run(|it| it.query_row(&select, [], depth))
    }

    /// The newest tasks, including those that a consumer has.
    pub fn waiting(&mut self, limit: usize) -> Result<Vec<Outgoing>, Error> {
        let select = "SELECT id, body, queued_at FROM tasks WHERE reason IS NULL \
                      ORDER BY seq DESC LIMIT ?1";
        let task = |row: &Row<'_>| {
            Ok(Outgoing {
                id: row.get(0)?,
                body: row.get(1)?,
                queued_at: Timestamp::from_nanos(row.get(2)?),
            })
        };
        self.tables.select(select, [bound(limit)], task)
    }

    /// Dead letters behind this one, oldest first.
    pub fn dead_after(&mut self, seq: i64, limit: usize) -> Result<Vec<(i64, DeadLetter)>, Error> {
        let select = "SELECT seq, id, body, reason, attempts FROM tasks \
                      WHERE reason IS NOT NULL AND seq > ?1 ORDER BY seq LIMIT ?2";
        let dead = |row: &Row<'_>| {
            let dead = DeadLetter {
                id: row.get(1)?,
                body: row.get(2)?,
                reason: row.get(3)?,
                attempts: row.get(4)?,
            };
            Ok((row.get(0)?, dead))
        };
        self.tables.select(select, [seq, bound(limit)], dead)
    }

    pub fn requeue(&mut self, dead: &[i64]) -> Result<u64, Error> {
        let update = "UPDATE tasks SET reason = NULL, attempts = 0, deliveries = 0 \
                      WHERE reason IS NOT NULL AND seq = ?1";
        self.sync(true)?;
        self.tables.transaction(|transaction| {
            let mut statement = transaction.prepare_cached(update)?;
            let updated = dead.iter().map(|seq| statement.execute([seq]));
            Ok(updated.sum::<rusqlite::Result<usize>>()? as u64)
        })
    }

    /// Whether the next commits do an fsync.
    /// Source: <https://www.sqlite.org/pragma.html#pragma_synchronous>
    fn sync(&mut self, synced: bool) -> Result<(), Error> {
        if self.synced != synced {
            let level = if synced { "FULL" } else { "NORMAL" };
            self.tables
                .run(|it| it.pragma_update(None, "synchronous", level))?;
            self.synced = synced;
        }
        Ok(())
    }
}

/// For `LIMIT`.
fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// SQLite's numbers have a sign; those here are never below zero.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    Ok(number.unsigned_abs())
}

/// Settles only what the consumer still has.
fn settle(
    transaction: &Transaction<'_>,
    consumer: &str,
    settled: &Settled,
) -> rusqlite::Result<()> {
    let (seq, dead) = match settled {
        Settled::Done(seq) => (seq, [].as_slice()),
        Settled::DeadLetter(seq, dead) => (seq, dead.as_slice()),
    };
    for dead in dead {
        let insert = "INSERT INTO tasks (id, body, queued_at, reason, attempts) \
                      SELECT ?3, ?4, queued_at, ?5, ?6 FROM tasks WHERE seq = ?1 AND owner = ?2";
        let (id, body, reason) = (&dead.id, &dead.body, &dead.reason);
        let values = params![seq, consumer, id, body, reason, dead.attempts];
        transaction.prepare_cached(insert)?.execute(values)?;
    }
    let delete = "DELETE FROM tasks WHERE seq = ?1 AND owner = ?2";
    let mut statement = transaction.prepare_cached(delete)?;
    statement.execute(params![seq, consumer]).map(drop)
}

/// Claims the oldest ready tasks.
fn claim(
    transaction: &Transaction<'_>,
    consumer: &str,
    room: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let claim = format!(
        "UPDATE tasks SET owner = ?1, deliveries = deliveries + 1 \
         WHERE seq IN (SELECT seq FROM tasks WHERE {WAITING} ORDER BY seq LIMIT ?2) \
         RETURNING seq, id, body, queued_at, deliveries"
    );
    let delivery = |row: &Row<'_>| {
        Ok(Delivery {
            token: Token {
                epoch: EPOCH,
                tag: count(row, 0)?,
            },
            id: row.get(1)?,
            body: row.get(2)?,
            queued_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_nanos),
            redelivered: row.get::<_, i64>(4)? > 1,
        })
    };
    let mut statement = transaction.prepare_cached(&claim)?;
    let claimed = statement.query_map(params![consumer, bound(room)], delivery)?;
    let mut claimed = claimed.collect::<rusqlite::Result<Vec<_>>>()?;
    // RETURNING promises no order.
    claimed.sort_by_key(|delivery| delivery.token.tag);
    Ok(claimed)
}
