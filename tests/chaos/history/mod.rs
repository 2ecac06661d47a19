//! The message log: three replicas on one database, with clients of each.

mod clients;
mod event;
mod planted;
mod promises;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use messenger::compare::load::postgres::Cluster;
use url::Url;

use super::disk::Disk;
use super::record::Recorder;
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::clock::{Clock, borrowed};
use crate::support::history::Store;
use crate::support::postgres::cluster;
use crate::support::process::Process;
use crate::support::programs::{Log, Program, free_port};
use clients::{Client, Last};
use event::HistoryEvent;

const SENDERS: usize = 6;
const PAGERS: usize = 3;
const FOLLOWERS: usize = 6;

/// A replica that does not listen after so long lacks its database, which another
/// fault may hold; each time in a row it gets so much more, for it may be slow too.
const START: Duration = Duration::from_secs(2);

const DISK_MEBIBYTES: usize = 48;

/// The log on PostgreSQL, or in a file of SQLite.
pub struct MessageLog<const SQLITE: bool> {
    /// Past all links.
    replicas: [u16; 3],
    ports: [u16; 3],
    store: Table,
}

/// Where the log is, past the service.
enum Table {
    Sqlite(PathBuf),
    Postgres(String),
}

/// A PostgreSQL, and the fault that has stopped it.
type Stopped = Mutex<(Cluster, Option<&'static str>)>;

/// Its clock does not step: PostgreSQL 15 writes its log in signal handlers, in which
/// libfaketime may deadlock. The replicas' clocks do.
pub fn on_postgres(stage: &mut Stage, application: &'static str) -> String {
    let cluster = cluster(&[]);
    let url = cluster.create("log").expect("a database");
    // Programs end here, never the machine: what is written is there afterwards.
    let faster = "ALTER SYSTEM SET fsync = off";
    Store::postgres_connection(&url)
        .batch_execute(faster)
        .expect("a setting");
    let reload = "SELECT pg_reload_conf()";
    Store::postgres_connection(&url)
        .batch_execute(reload)
        .expect("a setting");
    let stopped: Arc<Stopped> = Arc::new(Mutex::new((cluster, None)));
    for (name, order) in [
        ("PostgreSQL crashes", "crash"),
        ("PostgreSQL stops", "stop"),
    ] {
        let stopped = stopped.clone();
        stage.own(name, 1, move |begins| {
            let mut stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            let (cluster, by) = &mut *stopped;
            if begins && by.is_none() {
                cluster.order(order).expect("PostgreSQL ends");
                *by = Some(name);
            } else if !begins && *by == Some(name) {
                cluster.order("start").expect("PostgreSQL starts");
                *by = None;
            }
        });
    }
    let sessions = url.clone();
    stage.own("sessions end", 1, move |begins| {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = '{application}'"
        );
        // Another fault may have stopped PostgreSQL.
        if let (true, Ok(mut client)) = (
            begins,
            postgres::Client::connect(&sessions, postgres::NoTls),
        ) {
            let _ = client.batch_execute(&end);
        }
    });
    url
}

impl<const SQLITE: bool> World for MessageLog<SQLITE> {
    type Event = HistoryEvent;

    const NAME: &'static str = if SQLITE { "history-sqlite" } else { "history" };

    fn open(_seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let replicas = [(); 3].map(|()| free_port());
        let names = ["replica a", "replica b", "replica c"];
        let clock = Clock::new("+0");
        let store = if SQLITE {
            let disk = Arc::new(Disk::new(DISK_MEBIBYTES));
            let folder = disk.path().to_owned();
            for (name, port) in names.into_iter().zip(replicas) {
                let (variables, disk) = (clock.variables(), disk.clone());
                stage.restarted(
                    name,
                    replica(port, move |flags| {
                        let folder = disk.path().to_str().expect("a path in UTF-8");
                        Log::spawn(
                            &[flags, &["--data-dir", folder]].concat(),
                            &borrowed(&variables),
                        )
                    }),
                );
            }
            if let Some(full) = disk.fault() {
                stage.own("disk full", 2, full);
            }
            Table::Sqlite(folder)
        } else {
            let url = on_postgres(&mut stage, "messenger history");
            let links = ["a to PostgreSQL", "b to PostgreSQL", "c to PostgreSQL"];
            let mut behind = Url::parse(&url).expect("a URL");
            let server = behind.port().expect("a port");
            for ((name, link), port) in names.into_iter().zip(links).zip(replicas) {
                let link = stage.link(link, server);
                behind.set_port(Some(link)).expect("a URL with a host");
                let mut variables = clock.variables();
                variables.push(("DATABASE_URL", behind.to_string()));
                let spawn = move |flags: &[&str]| Log::spawn(flags, &borrowed(&variables));
                stage.restarted(name, replica(port, spawn));
            }
            Table::Postgres(url)
        };
        stage.clock(clock);
        let [a, b] = [("clients a", replicas[0]), ("clients b", replicas[1])]
            .map(|(name, port)| stage.link(name, port));
        let ports = [a, b, replicas[2]];
        let world = Self {
            replicas,
            ports,
            store,
        };
        (stage, world)
    }

    fn load(&self, seed: u64, recorder: &Recorder<HistoryEvent>, stop: &Stop) {
        let last = Last::default();
        let client = |kind: &str, number: usize, all: usize| {
            let pen = recorder.pen(format!("{kind} {number}"));
            Client::new(seed, all, &self.ports, pen)
        };
        thread::scope(|scope| {
            for number in 0..FOLLOWERS {
                let (mut follower, last) = (client("follower", number, number), &last);
                scope.spawn(move || follower.follow(stop, last));
            }
            let mut calling = Vec::new();
            for number in 0..SENDERS {
                let mut sender = client("sender", number, FOLLOWERS + number);
                calling.push(scope.spawn(move || sender.send(stop)));
            }
            for number in 0..PAGERS {
                let mut pager = client("pager", number, FOLLOWERS + SENDERS + number);
                calling.push(scope.spawn(move || pager.page(stop)));
            }
            for client in calling {
                client.join().expect("a client");
            }
            let end = |replica: usize| {
                let pen = recorder.pen(format!("the last client of replica {replica}"));
                Client::new(seed, 100 + replica, &self.replicas[replica..=replica], pen).end()
            };
            end(0);
            let number = end(1);
            recorder.pen("the run").note(HistoryEvent::Last { number });
            let _ = last.set(number);
            // Those who got the last one before they knew wait for another one.
            end(2);
        });
        let mut pen = recorder.pen("the table");
        let rows = match &self.store {
            Table::Sqlite(folder) => Store::sqlite_table(folder),
            Table::Postgres(url) => Store::Url(url.clone()).table(),
        };
        for row in rows {
            let row = clients::stored(row);
            pen.note(HistoryEvent::Stored { row });
        }
    }

    fn promises() -> Vec<Promise<HistoryEvent>> {
        promises::all()
    }
}

/// Starts a replica on this port, if it can be started.
fn replica(
    port: u16,
    spawn: impl Fn(&[&str]) -> Process + Send + 'static,
) -> impl Fn() -> Option<Program> + Send + 'static {
    let tries = Cell::new(1);
    move || {
        let port = port.to_string();
        let process = spawn(&["--http-port", &port, "--database-timeout", "1s"]);
        let program = Log::try_listening(process, START * tries.get());
        tries.set(program.as_ref().map_or(tries.get() + 1, |_| 1));
        program
    }
}
