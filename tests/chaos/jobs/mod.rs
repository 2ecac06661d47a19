//! The jobs: a queue (RabbitMQ, or embedded), three workers, a message server and a
//! store of results (a file, or PostgreSQL), producers and a client that lists.

mod event;
mod keepers;
mod planted;
mod producers;
mod promises;
mod site;
mod tasks;
mod watch;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use messenger::compare::load::postgres::Cluster;
use messenger::key;

use super::disk::Disk;
use super::record::Recorder;
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::postgres::cluster;
use crate::support::programs::{Program, Server, free_port};
use crate::support::rabbitmq::Broker;
use event::JobsEvent;
use keepers::{Order, Worker, fault, obey};
use producers::Sending;
use site::Site;
use tasks::Kind;
use watch::Watch;

/// From the end of the faults until every confirmed task is over.
const SETTLED: Duration = Duration::from_secs(60);

const WORKERS: [&str; 3] = ["worker 1", "worker 2", "worker 3"];

/// A task that can succeed does not die: so many failures no fault is long enough for.
const ATTEMPTS: [&str; 2] = ["--attempts", "1000"];

const WORK: [&str; 7] = [
    "work",
    "--call-timeout",
    "2s",
    "--workers",
    "2",
    "--prefetch",
    "8",
];

/// Mostly nothing: a start takes six seconds, in which no other fault shows anything.
const BROKER: [Order; 6] = {
    let spared = Order::Undo;
    [Order::Kill, Order::Pause, spared, spared, spared, spared]
};

pub struct Jobs<const EMBEDDED: bool> {
    _disk: Disk,
    broker: Option<(&'static Broker, Receiver<Order>)>,
    postgres: Option<(Mutex<Cluster>, Receiver<Order>)>,
    workers: Vec<Worker>,
    /// Past all links.
    site: Site,
    producers: Site,
    /// Its worker asks a server that lacks the service.
    doomed: Site,
    _chat: Program,
    /// The message server, through a link.
    server: String,
    with_python: bool,
}

/// One for all runs of this process: it takes a while to start.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(Broker::start)
}

/// Port of a URL.
fn port(url: &str) -> u16 {
    let url: url::Url = url.parse().expect("a URL");
    url.port().expect("a URL with a port")
}

impl<const EMBEDDED: bool> World for Jobs<EMBEDDED> {
    type Event = JobsEvent;

    const NAME: &'static str = if EMBEDDED { "jobs-embedded" } else { "jobs" };

    fn open(seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let disk = Disk::new(24);
        let broker = (!EMBEDDED).then(broker);
        let postgres = (seed % 2 == 1).then(|| cluster(&[]));
        let site = Site {
            // By default it takes 20 s until a broker gives up a client that is silent.
            broker: broker.map(|it| it.url() + "/%2f?heartbeat=3"),
            queue: format!("chaos-{}", key::random()),
            folder: disk.path().to_owned(),
            store: postgres.as_ref().map(Cluster::url),
        };
        let [mut to_broker, mut from_producers, mut to_store] = [None; 3];
        if let Some(url) = &site.broker {
            to_broker = Some(stage.link("workers to broker", port(url)));
            from_producers = Some(stage.link("producers to broker", port(url)));
        }
        if let Some(url) = &site.store {
            to_store = Some(stage.link("workers to PostgreSQL", port(url)));
        }
        let server = free_port();
        stage.program("message server", move || {
            Server::start_on(server, &["--services", "message"])
        });
        let server = stage.link("workers to message server", server);
        let server = format!("127.0.0.1:{server}");
        let chat = Server::start(&["--services", "chat"]);
        let doomed = Site {
            queue: format!("{}-doomed", site.queue),
            folder: disk.path().join("doomed"),
            store: None,
            ..site.clone()
        };
        if let (None, Some(fault)) = (&site.store, disk.fault()) {
            stage.own("full disk", 2, fault);
        }
        let mut worker = |name, site: Site, target: String, more: &'static [&str]| {
            let choice = &[Order::Kill, Order::Terminate, Order::Pause];
            let orders = fault(&mut stage, name, 1, seed, choice);
            let start = Box::new(move || {
                site.jobs(&[&WORK, more, &["--name", name, "--target", &target][..]].concat())
            });
            Worker {
                name,
                start,
                orders,
            }
        };
        let workers = WORKERS.map(|name| {
            worker(
                name,
                site.through(to_broker, to_store),
                server.clone(),
                &ATTEMPTS,
            )
        });
        let undertaker = worker(
            "doomed worker",
            doomed.through(to_broker, None),
            chat.address(),
            &["--attempts", "2"],
        );
        let mut down = |name, choice| fault(&mut stage, name, 1, seed, choice);
        let broker = broker.map(|it| (it, down("broker", &BROKER)));
        let postgres = postgres.map(|it| (Mutex::new(it), down("PostgreSQL", &[Order::Kill])));
        let world = Self {
            _disk: disk,
            broker,
            postgres,
            workers: workers.into_iter().chain([undertaker]).collect(),
            producers: site.through(from_producers, None),
            doomed,
            _chat: chat,
            site,
            server,
            // It ends at each task that cannot succeed, and stores nothing.
            with_python: !EMBEDDED && seed.is_multiple_of(3),
        };
        (stage, world)
    }

    fn load(&self, seed: u64, recorder: &Recorder<JobsEvent>, stop: &Stop) {
        let (over, printed) = (AtomicBool::new(false), Mutex::default());
        thread::scope(|scope| {
            // Also when something here fails, or the scope would wait for ever.
            let _over = Over(&over);
            let pen = |name: &str| recorder.pen(name);
            let sending = |name: &str| Sending {
                pen: pen(name),
                confirmed: Vec::new(),
            };
            for worker in &self.workers {
                let (pen, over) = (pen(worker.name), &over);
                scope.spawn(move || worker.keep(over, pen));
            }
            let downs = [
                scope.spawn(|| self.keep_broker(stop)),
                scope.spawn(|| self.keep_postgres(stop)),
            ];
            let publish = |kind, pause, site, to| {
                scope.spawn(move || producers::publish(seed, kind, pause, site, to, stop))
            };
            let sends = sending("jobs send");
            let mut producers = vec![
                publish(Kind::Good, 80, &self.producers, sending("publisher")),
                publish(Kind::Doomed, 600, &self.doomed, sending("doomed publisher")),
                scope.spawn(|| producers::send(seed, &self.producers, sends, stop)),
            ];
            if self.with_python {
                let (to, pen) = (sending("python producer"), pen("python consumer"));
                let (printed, over) = (&printed, &over);
                let (site, server) = (&self.producers, &*self.server);
                scope.spawn(move || producers::send_with_python(seed, site, to, stop));
                scope.spawn(move || {
                    producers::consume_with_python(seed, site, server, printed, over, pen);
                });
            } else {
                let to = sending("wrong publisher");
                producers.push(publish(Kind::Wrong, 300, &self.producers, to));
            }
            let mut watches = [
                Watch::new(self.site.clone(), pen("list")),
                Watch::new(self.doomed.clone(), pen("doomed list")),
            ];
            while !stop.wait(Duration::from_millis(300)) {
                watches.iter_mut().for_each(Watch::look);
            }
            let confirmed = producers
                .into_iter()
                .map(|it| it.join().expect("a producer"));
            let confirmed: BTreeSet<u64> = confirmed.flatten().collect();
            for down in downs {
                down.join().expect("nobody who is down");
            }
            let mut clock = pen("the end");
            clock.note(JobsEvent::FaultsOver);
            let deadline = Instant::now() + SETTLED;
            while Instant::now() < deadline {
                watches.iter_mut().for_each(Watch::look);
                if is_settled(&confirmed, &watches, &printed) {
                    clock.note(JobsEvent::Settled);
                    break;
                }
                thread::sleep(Duration::from_millis(200));
            }
            for watch in &mut watches {
                watch.list();
                watch.note_dead();
            }
        });
    }

    fn promises() -> Vec<Promise<JobsEvent>> {
        let mut promises = promises::all();
        if EMBEDDED {
            promises.push(promises::buried_once());
        }
        promises
    }
}

/// Whether every confirmed task is over, and nothing else can come.
fn is_settled(
    confirmed: &BTreeSet<u64>,
    watches: &[Watch; 2],
    printed: &Mutex<BTreeSet<u64>>,
) -> bool {
    let mut over: BTreeSet<u64> = watches.iter().flat_map(Watch::over).collect();
    over.extend(&*printed.lock().expect("no panic"));
    let dead: BTreeSet<u64> = watches[1].dead().into_iter().map(|it| it.0).collect();
    let mut doomed = over
        .iter()
        .filter(|task| Kind::of(**task) == Some(Kind::Doomed));
    over.is_superset(confirmed)
        && watches.iter().all(Watch::is_empty)
        && doomed.all(|task| dead.contains(task))
}

/// Tells the keepers of programs that the run is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<const EMBEDDED: bool> Jobs<EMBEDDED> {
    fn keep_broker(&self, stop: &Stop) {
        let Some((broker, orders)) = &self.broker else {
            return;
        };
        let mut hangs = false;
        obey(orders, stop, |order| match order {
            Order::Pause => {
                broker.hang();
                hangs = true;
            }
            Order::Undo if hangs => {
                broker.wake();
                hangs = false;
            }
            Order::Undo => {}
            _ => broker.restart(),
        });
    }

    fn keep_postgres(&self, stop: &Stop) {
        let Some((cluster, orders)) = &self.postgres else {
            return;
        };
        let mut cluster = cluster.lock().expect("no panic");
        let mut is_down = false;
        obey(orders, stop, |order| {
            let undo = order == Order::Undo;
            if is_down == undo {
                let done = cluster.order(if undo { "start" } else { "crash" });
                done.expect("PostgreSQL obeys");
                is_down = !undo;
            }
        });
    }
}
