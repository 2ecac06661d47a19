//! Starts and stops the threads of `worker` and `ledger`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::client::MessageClient;
use super::job::Job;
use super::queue::{self, Queue};
use super::results as store;
use super::{ledger, worker};
use crate::db::StartError;
use crate::grpc::client::{Connection, Settings, environment};
use crate::metrics;
use crate::readiness::Readiness;
use crate::sync::spawn;

pub use super::desk::Desk;

/// Settings of the workers.
#[derive(Clone, Debug)]
pub struct Config {
    pub queue: queue::Place,
    pub store: store::Place,
    /// The message server.
    pub target: String,
    pub connection: Settings,
    /// This process's name in the results.
    pub name: String,
    /// Threads that work on tasks.
    pub workers: u16,
    /// Prefetch: unacknowledged tasks of each thread.
    pub prefetch: u16,
    /// Failures after which a task is dead.
    pub attempts: u32,
    /// How often the connection to the server may be lost while it has a task, after which
    /// that is dead.
    pub crashes: u32,
    /// For one call of the message server.
    pub call_timeout: Duration,
    /// What the metrics port's /readyz tells.
    pub ready: Readiness,
}

/// What [`Config::crashes`] usually is: with the waits in between, about a minute.
pub const CRASHES: u32 = 10;

/// How long a shutdown waits for calls that are under way.
const END: Duration = Duration::from_secs(3);

/// How long /readyz waits for the queue.
const LOOK: Duration = Duration::from_secs(2);

/// How long a scrape waits for the depth of the queue.
const DEPTH: Duration = Duration::from_secs(1);

/// Running workers.
pub struct Handle {
    stop: Sender<()>,
    /// Disconnected when all threads have ended.
    ended: Receiver<()>,
}

/// Starts workers; `finished` sees every job that is settled, on the ledger's
/// thread, once it is stored.
///
/// # Errors
/// A store that cannot be opened, or a thread that cannot be started. A broker or
/// message server that cannot be reached is waited for.
pub fn start(
    config: &Config,
    finished: impl FnMut(&[&Job]) + Send + 'static,
) -> Result<Handle, StartError> {
    let store = store::open(&config.store)?;
    let queue = Arc::new(Queue::open(&config.queue)?);
    let asked = queue.clone();
    config.ready.needs("queue", move || {
        let depth = asked.depth(LOOK);
        depth.map(drop).map_err(|_| "does not answer".into())
    });
    count_depth(&queue);
    let (stop, stopped) = bounded(0);
    let (end, ended) = bounded(0);
    let (reports, inbox) = bounded(ledger::QUEUE);
    let connection = Connection::new(environment(), &config.target, &config.connection);
    let client = MessageClient::over(connection, config.call_timeout);
    let deliveries = queue.consume(config.workers.max(1).saturating_mul(config.prefetch.max(1)));
    let ledger = ledger::Ledger {
        store,
        queue: queue.clone(),
        reports: inbox,
        stopped: stopped.clone(),
        ready: config.ready.clone(),
        refused: HashMap::new(),
    };
    let running = end.clone();
    spawn("jobs-ledger", move || {
        ledger.run(finished);
        drop(running);
    })?;
    for number in 1..=config.workers.max(1) {
        let worker = worker::Worker {
            name: format!("{}/{number}", config.name),
            client: client.clone(),
            queue: queue.clone(),
            deliveries: deliveries.clone(),
            reports: reports.clone(),
            stopped: stopped.clone(),
            attempts: config.attempts.max(1),
            crashes: config.crashes.max(1),
        };
        let running = end.clone();
        spawn(format!("jobs-worker-{number}"), move || {
            worker.run();
            drop(running);
        })?;
    }
    Ok(Handle { stop, ended })
}

impl Handle {
    /// Disconnected when the workers have ended by themselves.
    pub fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Graceful shutdown: takes no more tasks, and waits up to `END` for those
    /// in work. Tasks that are unacknowledged then are redelivered to others.
    pub fn shut_down(self) {
        drop(self.stop);
        // Nothing is ever sent: all threads have ended, or the time is over.
        if let Err(error) = self.ended.recv_deadline(Instant::now() + END)
            && error.is_timeout()
        {
            tracing::warn!("a call did not end in time; its task will be redelivered");
        }
    }
}

/// Asks for the depth of the queue at each scrape; without an answer in time the scrape
/// has none.
fn count_depth(queue: &Arc<Queue>) {
    // There from the first scrape on.
    metrics::add(&metrics::UNREADABLE, &[], 0);
    drop(metrics::hold(&metrics::RETRYING, &["UNAVAILABLE"]));
    // Not kept alive: it ends when it is dropped.
    let queue = Arc::downgrade(queue);
    metrics::at_scrape(move || {
        metrics::QUEUE.reset();
        if let Some(depth) = queue.upgrade().and_then(|queue| queue.depth_soon(DEPTH)) {
            metrics::set(&metrics::QUEUE, &["waiting"], depth.waiting as usize);
            metrics::set(&metrics::QUEUE, &["dead"], depth.dead as usize);
        }
    });
}
