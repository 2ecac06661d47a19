//! `messenger demo`: everything in one process, on embedded defaults.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgAction;
use crossbeam_channel::Receiver;
use scopeguard::guard;

use super::once::Signals;
use super::{Error, metrics, services, signals};
use crate::chat::bridge;
use crate::console;
use crate::db::log::Retain;
use crate::grpc::client::Settings;
use crate::grpc::{host, server};
use crate::history;
use crate::http::Limits;
use crate::jobs::queue;
use crate::jobs::results as store;
use crate::jobs::workers;
use crate::readiness::Readiness;

/// Run server, bridge, message log, worker and web console in one process, to try things
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on
    #[arg(long, env = "MESSENGER_DEMO_HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port of the gRPC server
    #[arg(long, env = "MESSENGER_SERVER_PORT", default_value_t = server::PORT)]
    port: u16,
    /// Another port of the gRPC server; may be repeated
    #[arg(
        long,
        env = "MESSENGER_ALSO_PORT",
        default_value = "50051",
        value_name = "PORT",
        value_delimiter = ','
    )]
    also_port: Vec<u16>,
    /// Port of the bridge
    #[arg(
        long,
        env = "MESSENGER_HTTP_PORT",
        default_value_t = bridge::Config::default().http_port,
        value_name = "PORT"
    )]
    http_port: u16,
    /// Port of the web console
    #[arg(
        long,
        env = "MESSENGER_WEB_PORT",
        default_value_t = console::Config::default().http_port,
        value_name = "PORT"
    )]
    web_port: u16,
    /// Port of the message log
    #[arg(
        long,
        env = "MESSENGER_HISTORY_PORT",
        default_value_t = history::server::PORT,
        value_name = "PORT"
    )]
    history_port: u16,
    /// Run CMD beside the services, all on free ports and temporary data, and exit with its
    /// code; what follows is the command. It finds them by MESSENGER_TEST_SERVER_ADDR,
    /// _CLIENT1_ADDR and _CLIENT2_ADDR (two bridges), _HISTORY_ADDR and _WEB_ADDR, each
    /// host:port
    #[arg(long, value_name = "CMD", num_args = 1.., action = ArgAction::Set, allow_hyphen_values = true)]
    once: Vec<OsString>,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    services: services::Args,
}

const EXAMPLES: &str = "\
Examples:
  messenger demo
  messenger demo --once pytest -q         a test suite beside all services, in one line
  messenger demo --http-port 9080 --web-port 9090 --history-port 0 --port 0 --also-port 0";

/// Requests that the log handles at a time: enough for one person.
const LOG_LANES: usize = 8;

impl Args {
    pub fn run(mut self) -> Result<(), Error> {
        if self.once.is_empty() {
            let stop = signals::stop_or_reload()?;
            return self.serve(&stop, None).map(|_| ());
        }
        (self.port, self.also_port) = (0, Vec::new());
        (self.http_port, self.web_port, self.history_port) = (0, 0, 0);
        self.services.data_dir = None;
        let (signals, stop) = Signals::receive()?;
        let code = self.serve(&stop, Some(&signals))?;
        std::process::exit(code.unwrap_or_else(|| signals.interrupted()))
    }

    /// All services, until `stop` or, for a command, until that has ended, with its code.
    fn serve(&self, stop: &Receiver<()>, once: Option<&Signals>) -> Result<Option<i32>, Error> {
        let mut config = server::Config {
            host: self.host.clone(),
            ports: vec![self.port],
            ..server::Config::default()
        };
        config.ports.extend(&self.also_port);
        let open = match once {
            Some(_) => self.metrics.open_quietly(&config.ready)?,
            None => self.metrics.open(&config.ready)?,
        };
        // Whatever happens to the others, each shuts down in order.
        let server = self
            .services
            .host(&config, services::Limits::default(), None)?;
        let server = guard(server, host::Handle::shut_down);
        let ports = server.ports().iter();
        let ports: Vec<_> = ports
            .map(|port| server::address(&self.host, *port))
            .collect();
        let temporary;
        let folder = match self.services.data_dir.as_deref() {
            Some(folder) => folder,
            None => {
                temporary = tempfile::tempdir()?;
                tracing::info!("message log and jobs are temporary; --data-dir keeps them");
                temporary.path()
            }
        };
        let workers = self.start_workers(folder, &ports[0])?;
        let _workers = guard(workers, |it| it.map_or((), workers::Handle::shut_down));
        let Some(log) = history::server::start(&self.log_config(folder), stop)? else {
            return Ok(None);
        };
        let log = guard(log, history::server::Handle::shut_down);
        let console = self.start_console(folder, &ports[0], log.local_addr())?;
        let console = guard(console, console::Handle::shut_down);
        let mut bridges = Vec::new();
        for http_port in [Some(self.http_port), once.map(|_| 0)]
            .into_iter()
            .flatten()
        {
            let config = bridge::Config {
                server: ports[0].clone(),
                host: self.host.clone(),
                http_port,
                ..bridge::Config::default()
            };
            let Some(bridge) = bridge::start(&config, stop)? else {
                return Ok(None);
            };
            bridges.push(guard(bridge, bridge::Handle::shut_down));
        }
        let mut listeners: Vec<_> = ports.iter().map(|it| ("server", it.clone())).collect();
        let names = once.map_or(["client", ""], |_| ["client1", "client2"]);
        let bridges = bridges.iter().map(|it| it.local_addr());
        let others = [("history", log.local_addr()), ("web", console.local_addr())];
        let all = names.into_iter().zip(bridges).chain(others);
        listeners.extend(all.map(|(name, at)| (name, at.to_string())));
        open.ready(&listeners)?;
        if let Some(signals) = once {
            let variable = |(name, at): (&str, String)| {
                let name = format!("MESSENGER_TEST_{}_ADDR", name.to_uppercase());
                (name, metrics::reachable(at))
            };
            let variables: Vec<_> = listeners.into_iter().map(variable).collect();
            return signals.run(&self.once, &variables).map(Some);
        }
        self.tell(folder, &listeners);
        stop.recv()?;
        Ok(None)
    }

    /// The embedded queue and the results, if the server has the message service.
    fn places(&self, folder: &Path) -> Option<(queue::Place, store::Place)> {
        let queue = queue::Place::Embedded(folder.to_owned());
        let places = (queue, store::Place::Folder(folder.to_owned()));
        self.services.answers_tasks().then_some(places)
    }

    /// One worker on the embedded queue.
    fn start_workers(&self, folder: &Path, server: &str) -> Result<Option<workers::Handle>, Error> {
        let Some((queue, store)) = self.places(folder) else {
            return Ok(None);
        };
        let config = workers::Config {
            queue,
            store,
            target: server.into(),
            connection: Settings::default(),
            name: "demo".into(),
            workers: 1,
            prefetch: 1,
            attempts: 5,
            crashes: workers::CRASHES,
            call_timeout: Duration::from_secs(10),
            ready: Readiness::default(),
        };
        Ok(Some(workers::start(&config, |_| {})?))
    }

    fn log_config(&self, folder: &Path) -> history::server::Config {
        history::server::Config {
            database: history::database::Database::sqlite(folder),
            host: self.host.clone(),
            http_port: self.history_port,
            lanes: LOG_LANES,
            timeout: Duration::from_secs(5),
            limits: history::entry::Limits::default(),
            retain: Retain::default(),
            http: Limits::default(),
        }
    }

    fn start_console(
        &self,
        folder: &Path,
        server: &str,
        log: SocketAddr,
    ) -> Result<console::Handle, Error> {
        let places = self.places(folder);
        let desk = places.map(|(queue, store)| crate::jobs::client::Desk::open(&queue, &store));
        Ok(console::start(&console::Config {
            jobs: desk.transpose()?.map(Arc::new),
            server: server.into(),
            history: Some(log.to_string()),
            host: self.host.clone(),
            http_port: self.web_port,
            ..console::Config::default()
        })?)
    }

    /// Where all is, and what to try.
    fn tell(&self, folder: &Path, listeners: &[(&str, String)]) {
        let at = |wanted: &str| {
            let found = listeners.iter().filter(|(name, _)| *name == wanted);
            found.map(|(_, at)| &**at).collect::<Vec<_>>()
        };
        let [bridge, log, console] = ["client", "history", "web"].map(|it| at(it).concat());
        println!("gRPC server    {}", at("server").join("  "));
        println!("bridge         http://{bridge}");
        println!("message log    http://{log}");
        println!("web console    http://{console}");
        println!();
        println!("Try, from another terminal:");
        println!(
            "  curl -d '{{\"author\":\"anna\",\"text\":\"Hello\"}}' http://{bridge}/sendMessage"
        );
        println!("  curl -X POST http://{bridge}/getAndFlushMessages");
        println!("  curl -d '{{\"sender\":\"anna\",\"text\":\"Hello\"}}' http://{log}");
        println!("  messenger tail --server {}", listeners[0].1);
        if self.services.answers_tasks() {
            let folder = folder.display();
            println!("  messenger jobs send --data-dir {folder} user42 fact:100");
            println!("  messenger jobs list --data-dir {folder}");
        }
        println!();
        println!("Ctrl-C ends it.");
    }
}
