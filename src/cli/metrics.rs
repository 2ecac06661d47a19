//! `--metrics-port`, a port for those who watch a process, `--access-log`, and
//! `--port-file`, for those who have started it: for every command that serves others.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// File for the addresses: a line NAME HOST:PORT for each. It appears, whole, when the
    /// process is ready, so nobody has to read the log for a port
    #[arg(long, env = "MESSENGER_PORT_FILE", value_name = "FILE")]
    port_file: Option<PathBuf>,
}

/// The port for metrics, as long as this is not dropped.
pub struct Open<'a> {
    args: &'a Args,
    serving: Option<Serving>,
}

impl Args {
    /// Turns on the access log, removes the file of a run before, and opens the port if it
    /// is wanted, where /readyz tells this too.
    /// To be called once, before the services start, which count only if it is open.
    pub fn open(&self, ready: &Readiness) -> Result<Open<'_>, Error> {
        let open = self.open_quietly(ready)?;
        if let Some(serving) = &open.serving {
            let address = serving.local_addr();
            println!("messenger metrics listening on http://{address}");
        }
        Ok(open)
    }

    /// The same, without a line on standard output.
    pub fn open_quietly(&self, ready: &Readiness) -> Result<Open<'_>, Error> {
        if self.access_log {
            access_log::turn_on();
        }
        if let Some(file) = &self.port_file {
            let _ = std::fs::remove_file(file);
        }
        let serving = self.metrics_port.map(|port| self.serve(port, ready));
        let serving = serving.transpose()?;
        let args = self;
        Ok(Open { args, serving })
    }

    fn serve(&self, port: u16, ready: &Readiness) -> Result<Serving, Error> {
        let front = Front::bind_named(&self.metrics_host, port)?.named("metrics");
        metrics::turn_on();
        let handler = |request| answer(&request);
        Ok(front.serve(limits(ready.clone()), vec![handler], "metrics")?)
    }
}

impl Open<'_> {
    /// As [`Open::ready`] for `messenger NAME` with its one HTTP port, which it prints.
    ///
    /// # Errors
    /// The same.
    pub fn listening(&self, name: &str, scheme: &str, address: SocketAddr) -> Result<(), Error> {
        self.ready(&[(name, address.to_string())])?;
        println!("messenger {name} listening on {scheme}://{address}");
        Ok(())
    }

    /// Writes the file, for a process that is ready and listens on these ports too.
    ///
    /// # Errors
    /// Names the file.
    pub fn ready(&self, listeners: &[(&str, String)]) -> Result<(), Error> {
        let Some(file) = &self.args.port_file else {
            return Ok(());
        };
        let line = |name: &str, address: String| format!("{name} {}\n", reachable(address));
        let listeners = listeners.iter().map(|(name, at)| line(name, at.clone()));
        let own = self
            .serving
            .as_ref()
            .map(|it| line("metrics", it.local_addr().to_string()));
        let lines: String = listeners.chain(own).collect();
        let write = || {
            // In the same folder: a rename does not leave its file system.
            let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
            let mut new = tempfile::Builder::new()
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(folder.unwrap_or(".".as_ref()))?;
            new.write_all(lines.as_bytes())?;
            new.persist(file).map_err(|error| error.error)
        };
        let failed = |error| format!("--port-file {}: {error}", file.display());
        Ok(write().map(drop).map_err(failed)?)
    }
}

/// Where a client on this machine reaches it.
pub fn reachable(address: String) -> String {
    match address.parse() {
        Ok(SocketAddr::V4(at)) if at.ip().is_unspecified() => format!("127.0.0.1:{}", at.port()),
        Ok(SocketAddr::V6(at)) if at.ip().is_unspecified() => format!("[::1]:{}", at.port()),
        _ => address,
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
