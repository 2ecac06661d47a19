//! `messenger jobs work`

use std::io::Write as _;
use std::time::Duration;

use crossbeam_channel::select;
use sd_notify::NotifyState;

use super::{Places, outcome};
use crate::cli::terminal::plain;
use crate::cli::{Error, access, drain, duration, metrics, signals, tls};
use crate::grpc::client::Settings;
use crate::jobs::job::Job;
use crate::jobs::workers;
use crate::readiness::Readiness;

/// Run workers: they take tasks from the queue and store the results
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The gRPC server with the message service, which computes the answers
    #[arg(
        long,
        env = "GRPC_TARGET",
        default_value = "localhost:50051",
        value_name = "HOST:PORT"
    )]
    target: String,
    /// Worker threads
    #[arg(long, env = "MESSENGER_JOBS_WORKERS", default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Most unacknowledged tasks of each worker thread
    #[arg(long, env = "MESSENGER_JOBS_PREFETCH", default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    prefetch: u16,
    /// Attempts after which a failing task goes to the dead-letter queue
    #[arg(long, env = "MESSENGER_JOBS_ATTEMPTS", default_value_t = 5, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    attempts: u32,
    /// Lost connections to the server, while it works on a task, after which that task goes
    /// to the dead-letter queue: it may be what crashes the server
    #[arg(long, env = "MESSENGER_JOBS_CRASHES", default_value_t = workers::CRASHES, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    crashes: u32,
    /// Deadline of each call to the server
    #[arg(long, env = "MESSENGER_CALL_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    call_timeout: Duration,
    /// Name of this process in the results [default: process id and host]
    #[arg(long, env = "MESSENGER_JOBS_NAME", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    tls: tls::Connect,
    #[command(flatten)]
    token: access::Client,
}

const EXAMPLES: &str = "\
Examples:
  messenger jobs work
  messenger jobs work --workers 4 --prefetch 64
  AMQP_URL=amqp://user:password@broker:5672 GRPC_TARGET=server:50051 messenger jobs work
  messenger jobs work --store postgres://user:password@localhost/jobs";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop_or_reload()?;
        let ready = Readiness::default();
        let open = self.metrics.open(&ready)?;
        let config = workers::Config {
            queue: self.places.queue()?,
            store: self.places.store()?,
            target: self.target.clone(),
            connection: Settings {
                tls: self.tls.read()?,
                token: self.token.read()?,
                ..Settings::default()
            },
            name: self.name.clone().unwrap_or_else(default_name),
            workers: self.workers,
            prefetch: self.prefetch,
            attempts: self.attempts,
            crashes: self.crashes,
            call_timeout: self.call_timeout,
            ready,
        };
        let handle = workers::start(&config, print)?;
        tracing::info!(target = self.target, "working");
        open.ready(&[])?;
        drain::tell(NotifyState::Ready);
        select! {
            recv(stop) -> _ => {}
            recv(handle.ended()) -> _ => return Err("all workers have ended, see the log".into()),
        }
        drain::tell(NotifyState::Stopping);
        tracing::info!("shutting down");
        handle.shut_down();
        Ok(())
    }
}

/// A line for each job; errors are ignored, since the reader may have gone.
fn print(jobs: &[&Job]) {
    let mut lines = String::new();
    for job in jobs {
        let (task, outcome) = (plain(&job.text()), outcome(job));
        let state = job.state.name();
        match &job.result {
            Some(_) => lines += &format!("{task} -> {outcome}\n"),
            None => lines += &format!("{task} -> {state}: {outcome}\n"),
        }
    }
    let _ = std::io::stdout().lock().write_all(lines.as_bytes());
}

fn default_name() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}
