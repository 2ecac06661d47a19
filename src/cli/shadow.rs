//! `messenger shadow`

use std::fs::File;
use std::path::PathBuf;

use super::{Error, compare, signals};
use crate::compare::load::process::Program;
use crate::compare::peer::Peer;
use crate::compare::prepare::{Options, prepare};
use crate::compare::shadow::{Report, Side, start};

/// Compare two implementations live: a proxy that asks both, and shows what differs
///
/// The clients get the answers of one side, byte for byte and without waiting for the
/// other one. Without any address, the Python programs (left) and ours (right) are
/// started.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The gRPC server on the left
    #[arg(
        long,
        env = "MESSENGER_SHADOW_LEFT",
        value_name = "HOST:PORT",
        requires = "right"
    )]
    left: Option<String>,
    /// The gRPC server on the right
    #[arg(
        long,
        env = "MESSENGER_SHADOW_RIGHT",
        value_name = "HOST:PORT",
        requires = "left"
    )]
    right: Option<String>,
    /// The bridge on the left
    #[arg(
        long,
        env = "MESSENGER_SHADOW_LEFT_HTTP",
        value_name = "HOST:PORT",
        requires = "right_http"
    )]
    left_http: Option<String>,
    /// The bridge on the right
    #[arg(
        long,
        env = "MESSENGER_SHADOW_RIGHT_HTTP",
        value_name = "HOST:PORT",
        requires = "left_http"
    )]
    right_http: Option<String>,
    /// Whose answers the clients get
    #[arg(
        long,
        env = "MESSENGER_SHADOW_ANSWER",
        value_name = "SIDE",
        default_value = "left"
    )]
    answer: Side,
    /// Address to listen on
    #[arg(long, env = "MESSENGER_SHADOW_HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port for gRPC; 0 takes any free one and prints it
    #[arg(long, env = "MESSENGER_SHADOW_PORT", default_value_t = 51076)]
    port: u16,
    /// Port for HTTP; 0 takes any free one and prints it
    #[arg(long, env = "MESSENGER_SHADOW_HTTP_PORT", default_value_t = 8081)]
    http_port: u16,
    /// Also write what differs to this file, a line of JSON each
    #[arg(long, env = "MESSENGER_SHADOW_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
    /// Show each known difference, not only the first of its kind
    #[arg(long, env = "MESSENGER_SHADOW_ALL")]
    all: bool,
    /// Print lines of JSON instead of text
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    #[command(flatten)]
    python: compare::Python,
}

const EXAMPLES: &str = "\
Examples:
  messenger shadow                               the Python programs and ours, started for it
  messenger shadow --left localhost:51075 --right localhost:50051
  messenger shadow --left-http localhost:8080 --right-http localhost:8000 --http-port 9000
  messenger shadow --left old:51075 --right new:51075 --answer right --report shadow.jsonl
  messenger shadow --all --json | jq 'select(.known == null)'";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let both = |left: &Option<String>, right: &Option<String>| {
            left.clone()
                .zip(right.clone())
                .map(|(left, right)| [left, right])
        };
        let mut grpc = both(&self.left, &self.right);
        let mut http = both(&self.left_http, &self.right_http);
        let mut programs = Vec::new();
        if grpc.is_none() && http.is_none() {
            programs = self.start()?;
            let addresses: Vec<_> = programs.iter().map(|it| it.address().to_owned()).collect();
            let [left, right, left_http, right_http] = &addresses[..] else {
                return Err("not all programs have started".into());
            };
            grpc = Some([left.clone(), right.clone()]);
            http = Some([left_http.clone(), right_http.clone()]);
        }
        let create =
            |path: &PathBuf| File::create(path).map_err(|e| format!("{}: {e}", path.display()));
        let report = Report {
            json: self.json,
            all: self.all,
            file: self.report.as_ref().map(create).transpose()?,
            ..Report::default()
        };
        let grpc = grpc.map(|sides| (self.port, sides));
        let http = http.map(|sides| (self.http_port, sides));
        let shadow = start(
            &self.host,
            grpc.as_ref(),
            http.as_ref(),
            self.answer,
            report,
        )?;
        let grpc_address = shadow.grpc().map(|port| format!("{}:{port}", self.host));
        let http_address = shadow.http.map(|address| format!("http://{address}"));
        for (address, place) in [(grpc_address, grpc), (http_address, http)] {
            let Some((address, (_, [left, right]))) = address.zip(place) else {
                continue;
            };
            println!("messenger shadow listening on {address}");
            tracing::info!("{address}: left {left}, right {right}");
        }
        stop.recv()?;
        shadow.shut_down();
        drop(programs);
        Ok(())
    }

    /// Server and bridge of either side, the servers first.
    fn start(&self) -> Result<Vec<Program>, Error> {
        let toolbox = prepare(&Options {
            folder: self.python.work.clone(),
            python: self.python.python.clone(),
            tonic: false,
        })?;
        tracing::info!("starting the programs; the Python bridge takes ten seconds");
        let peers = [Peer::Python, Peer::Ours];
        let servers = peers.each_ref().map(|peer| toolbox.server(peer, 0));
        let mut programs = servers.into_iter().collect::<Result<Vec<_>, _>>()?;
        for (at, peer) in peers.iter().enumerate() {
            programs.push(toolbox.bridge(peer, programs[at].address())?);
        }
        Ok(programs)
    }
}
