//! `--metrics-port`, a port for those who watch a process, and `--access-log`: for
//! every command that serves others.

use std::time::Duration;

use super::Error;
use crate::access_log;
use crate::budget::Budget;
use crate::http::{Front, Limits, Request, Response, Serving};
use crate::metrics;
use crate::readiness::Readiness;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Observation")]
pub struct Args {
    /// Port for metrics, at /metrics, in Prometheus' text format; 0 takes any free one
    /// and prints it; without it, nothing is counted
    #[arg(long, env = "MESSENGER_METRICS_PORT", value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Address for metrics to listen on
    #[arg(
        long,
        env = "MESSENGER_METRICS_HOST",
        default_value = "127.0.0.1",
        value_name = "HOST"
    )]
    metrics_host: String,
    /// Log a line for each HTTP request and gRPC call, at info, with a request id
    #[arg(long, env = "MESSENGER_ACCESS_LOG")]
    access_log: bool,
}

impl Args {
    /// Turns on the access log, and opens the port, where /readyz tells this too; `None` if
    /// it is not wanted.
    /// To be called once, before the services start, which count only if it is open.
    /// Dropping the result closes it.
    pub fn open(&self, ready: &Readiness) -> Result<Option<Serving>, Error> {
        if self.access_log {
            access_log::turn_on();
        }
        let Some(port) = self.metrics_port else {
            return Ok(None);
        };
        let front = Front::bind_named(&self.metrics_host, port)?.named("metrics");
        metrics::turn_on();
        let serving = front.serve(
            limits(ready.clone()),
            vec![|request| answer(&request)],
            "metrics",
        )?;
        println!(
            "messenger metrics listening on http://{}",
            serving.local_addr()
        );
        Ok(Some(serving))
    }
}

/// Small: who scrapes asks every few seconds, on one connection.
fn limits(ready: Readiness) -> Limits {
    Limits {
        header_bytes: 8 * 1024,
        body_bytes: 0,
        connections: 32,
        memory: Budget::new(16 << 20),
        streams: 0,
        lane_wait: Duration::from_secs(5),
        ready,
        answer_time: Duration::from_secs(10),
        ..Limits::default()
    }
}

fn answer(request: &Request) -> Response {
    match (&*request.path, &*request.method) {
        ("/metrics", "GET" | "HEAD") => Response {
            status: 200,
            headers: vec![("Content-Type".into(), metrics::TEXT_FORMAT.into())],
            body: metrics::text(),
            ..Response::default()
        },
        ("/metrics", _) => Response::wrong_method("GET, HEAD"),
        _ => {
            let there = "there is nothing but /metrics, /livez and /readyz";
            Response::error(404, "NOT_FOUND", there)
        }
    }
}
