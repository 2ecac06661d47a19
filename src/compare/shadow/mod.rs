//! `messenger shadow`: a proxy in front of two implementations. The clients get the
//! answers of the first side as they come. The second side is asked the same beside it, in
//! the order in which the first one has answered, and what it answers is compared.
//!
//! `grpc` and `http` forward, and leave jobs for the one thread of `judge`, which asks the
//! second side and compares by the rules of `matching` and `sequence`. Nobody who forwards
//! waits for it: what finds no room is forwarded, and not compared.

mod grpc;
mod http;
mod judge;
mod matching;
mod report;
mod sequence;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::budget::{Budget, Hold};
use crate::grpc::host::StartError;
use crate::grpc::server::Server;
use crate::sync::spawn;

use judge::{Job, Judge};
pub use report::Report;

/// Jobs that wait for the judge.
const JOBS: usize = 8192;
/// Bytes of requests and answers that wait to be compared; each takes some more.
const MEMORY: usize = 64 * 1024 * 1024;
const OVERHEAD: usize = 4096;
/// How long the second side may take for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// One of the two implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    fn other(self) -> Self {
        [Self::Right, Self::Left][self as usize]
    }
}

/// A port, and the addresses of the left and the right side behind it.
pub type Place = (u16, [String; 2]);

/// What all connections share.
struct Watch {
    first: Side,
    jobs: Sender<Job>,
    budget: Budget,
    uncompared: AtomicU64,
}

impl Watch {
    /// Leaves a job about so many bytes, if there is room for it. Never waits.
    fn leave(&self, bytes: usize, job: impl FnOnce(&mut Judge, Hold) + Send + 'static) -> bool {
        let hold = self.budget.take(bytes + OVERHEAD).ok();
        let job = hold.map(|hold| Box::new(|judge: &mut Judge| job(judge, hold)) as Job);
        let left = job.is_some_and(|job| self.jobs.try_send(job).is_ok());
        self.uncompared.fetch_add(u64::from(!left), Relaxed);
        left
    }
}

/// A shadow that forwards.
pub struct Handle {
    server: Option<Server>,
    /// What the HTTP proxy listens on, until the process ends.
    pub http: Option<SocketAddr>,
    judge: JoinHandle<()>,
    stop: Sender<()>,
}

/// Listens at these places of a host, and forwards; returns at once. The clients get the
/// answers of the `first` side.
///
/// # Errors
/// [`StartError`] for a port that is taken, or no thread to be had.
pub fn start(
    host: &str,
    grpc: Option<&Place>,
    http: Option<&Place>,
    first: Side,
    report: Report,
) -> Result<Handle, StartError> {
    let ((jobs, left), (stop, stopped)) = (bounded(JOBS), bounded(0));
    let watch = Arc::new(Watch {
        first,
        jobs,
        budget: Budget::new(MEMORY),
        uncompared: AtomicU64::new(0),
    });
    let judge = Judge::new(watch.clone(), report)?;
    Ok(Handle {
        judge: spawn("shadow-judge", move || judge.run(&left, &stopped))?,
        server: grpc.map(|it| grpc::start(host, it, &watch)).transpose()?,
        http: http.map(|it| http::start(host, it, &watch)).transpose()?,
        stop,
    })
}

impl Handle {
    /// The port of the gRPC proxy.
    pub fn grpc(&self) -> Option<u16> {
        self.server.as_ref()?.ports().first().copied()
    }

    /// Ends the calls, compares what is on its way, and writes the summary.
    pub fn shut_down(self) {
        if let Some(server) = self.server {
            server.shut_down();
        }
        drop(self.stop);
        // A panic has been logged.
        let _ = self.judge.join();
    }
}
