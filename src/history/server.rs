//! The message log's server, and its threads.
//!
//! The lanes ("history-N") take requests and wait. The thread "history-writer"
//! owns the connection that appends: what has queued up during one transaction
//! goes into the next one. "history-reader" owns another one, so that readers do
//! not block writers (no head-of-line blocking), and "history-looker" a third one, for
//! health and for "history-tail", which looks for new messages once for all
//! followers. "history-keeper" does from time to time what no request waits for.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::database::Database;
use super::entry::{self as rules, Page};
use crate::db::log::{Keeper, Retain};
use crate::db::{self, Error as StoreError};
use crate::http::{Front, Limits, Serving};

use super::api::Api;
pub use super::api::NEEDS;
use super::api::is_quick;
use super::executor::Executor;
use super::operation::{Append, Read};
use super::tail::Tail;

/// How many requests for pages and senders are handled at a time: they wait for one
/// connection, and hold up nobody else.
pub const READERS: usize = 16;

/// The HTTP port of the log.
pub const PORT: u16 = 8070;

#[derive(Clone, Debug)]
pub struct Config {
    pub database: Database,
    pub host: String,
    /// 0 is any free port.
    pub http_port: u16,
    /// How many requests are handled at a time, and so the largest batch; besides
    /// [`READERS`] for pages and senders.
    pub lanes: usize,
    /// Maximum wait for the database, of a request and at the start.
    pub timeout: Duration,
    pub limits: rules::Limits,
    /// What else is removed, and when.
    pub retain: Retain,
    pub http: Limits,
}

/// A running log.
pub struct Handle {
    http: Serving,
    writer: Arc<Executor<Append>>,
    readers: [Arc<Executor<Read>>; 2],
    tail: Arc<Tail>,
    keeper: Arc<Keeper>,
}

/// Brings the schema up to date, then opens the HTTP port. A database that
/// cannot be reached is waited for up to the timeout. `None` when
/// `stop` came first.
///
/// # Errors
/// A port that is taken, a database that refuses or cannot be reached, or threads
/// that cannot be started.
pub fn start(
    config: &Config,
    stop: &Receiver<()>,
) -> Result<Option<Handle>, Box<dyn std::error::Error>> {
    let front = Front::bind_named(&config.host, config.http_port)?.named("history");
    let front = front.keep_lanes(config.lanes, is_quick);
    if !migrate(config, stop)? {
        return Ok(None);
    }
    let (database, timeout) = (&config.database, config.timeout);
    let writer = Executor::start("history-writer", database, config.lanes, timeout)?;
    let reader = Executor::start("history-reader", database, READERS, timeout)?;
    let looker = Executor::start("history-looker", database, config.lanes, timeout)?;
    let (writer, reader, looker) = (Arc::new(writer), Arc::new(reader), Arc::new(looker));
    let tail = Tail::start(looker.clone())?;
    let kept = database.clone();
    let keeper = Keeper::start(
        "history-keeper",
        Box::new(move || kept.open()),
        config.retain,
    )?;
    let (reads, writes) = (looker.clone(), writer.clone());
    let ready = &config.http.ready;
    ready.needs("database", move || {
        reads
            .page(Page::newest())
            .map(drop)
            .map_err(|it| it.message)
    });
    ready.tries(move || matches!(writes.ask(Append(None)), Ok(Ok(_))));
    let lane = || {
        let api = Api {
            writer: writer.clone(),
            reader: reader.clone(),
            looker: looker.clone(),
            tail: tail.clone(),
            keeper: keeper.clone(),
            limits: config.limits,
            memory: config.http.memory.clone(),
            ready: config.http.ready.clone(),
        };
        move |request| api.handle(&request)
    };
    let lanes = (0..config.lanes + READERS).map(|_| lane()).collect();
    let http = Limits {
        lane_wait: timeout,
        ..config.http.clone()
    };
    let http = front.serve(http, lanes, "history")?;
    Ok(Some(Handle {
        http,
        writer,
        readers: [reader, looker],
        tail,
        keeper,
    }))
}

/// Returns whether it was done before the `stop`.
fn migrate(config: &Config, stop: &Receiver<()>) -> Result<bool, Box<dyn std::error::Error>> {
    let migrated = db::migrate(config.timeout, stop, || config.database.migrate());
    migrated.map_err(|error| match error {
        StoreError::PostgresSchema { .. } => {
            let may = "a role that may change it runs `messenger history migrate`";
            format!("{error}; {may}").into()
        }
        error => error.into(),
    })
}

impl Handle {
    /// The address of the HTTP port.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.http.local_addr()
    }

    /// The time before a shutdown: followers' streams end one by one, requests are
    /// answered. Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        self.http.drain(over);
    }

    /// Graceful shutdown: followers' streams end, requests in flight are answered,
    /// then all threads end. Takes less than five seconds.
    pub fn shut_down(self) {
        self.tail.close();
        self.keeper.close();
        self.http.shutdown();
        self.writer.shut_down();
        for reader in &self.readers {
            reader.shut_down();
        }
    }
}
