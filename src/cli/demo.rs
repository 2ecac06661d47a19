//! `messenger demo`: everything in one process, on embedded defaults.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::{Error, metrics, services, signals};
use crate::chat::bridge;
use crate::console;
use crate::db::log::Retain;
use crate::grpc::client::Settings;
use crate::grpc::server;
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
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    services: services::Args,
}

const EXAMPLES: &str = "\
Examples:
  messenger demo
  messenger demo --http-port 9080 --web-port 9090 --history-port 0 --port 0 --also-port 0";

/// Requests that the log handles at a time: enough for one person.
const LOG_LANES: usize = 8;

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop_or_reload()?;
        let mut config = server::Config {
            host: self.host.clone(),
            ports: vec![self.port],
            ..server::Config::default()
        };
        config.ports.extend(&self.also_port);
        let _metrics = self.metrics.open(&config.ready)?;
        let limits = services::Limits::default();
        let server = self.services.host(&config, limits, None)?;
        // Whatever happens to the others, the server shuts down gracefully.
        let result = self.run_others(server.ports(), &stop);
        server.shut_down();
        result
    }

    fn run_others(&self, ports: &[u16], stop: &Receiver<()>) -> Result<(), Error> {
        let temporary;
        let folder = match self.services.data_dir() {
            Some(folder) => folder,
            None => {
                temporary = tempfile::tempdir()?;
                tracing::info!("message log and jobs are temporary; --data-dir keeps them");
                temporary.path()
            }
        };
        let workers = self.start_workers(folder, ports[0])?;
        let result = self.run_log(folder, ports, stop);
        if let Some(workers) = workers {
            workers.shut_down();
        }
        result
    }

    /// The embedded queue and the results, if the server has the message service.
    fn places(&self, folder: &Path) -> Option<(queue::Place, store::Place)> {
        let queue = queue::Place::Embedded(folder.to_owned());
        let places = (queue, store::Place::Folder(folder.to_owned()));
        self.services.answers_tasks().then_some(places)
    }

    /// One worker on the embedded queue.
    fn start_workers(&self, folder: &Path, port: u16) -> Result<Option<workers::Handle>, Error> {
        let Some((queue, store)) = self.places(folder) else {
            return Ok(None);
        };
        let config = workers::Config {
            queue,
            store,
            target: format!("{}:{port}", self.host),
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

    fn run_log(&self, folder: &Path, ports: &[u16], stop: &Receiver<()>) -> Result<(), Error> {
        let Some(log) = history::server::start(&self.log_config(folder), stop)? else {
            return Ok(());
        };
        let result = self.run_console(folder, ports, &log, stop);
        log.shut_down();
        result
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

    fn run_console(
        &self,
        folder: &Path,
        ports: &[u16],
        log: &history::server::Handle,
        stop: &Receiver<()>,
    ) -> Result<(), Error> {
        let places = self.places(folder);
        let desk = places.map(|(queue, store)| crate::jobs::client::Desk::open(&queue, &store));
        let console = console::start(&console::Config {
            jobs: desk.transpose()?.map(Arc::new),
            server: format!("{}:{}", self.host, ports[0]),
            history: Some(log.local_addr().to_string()),
            host: self.host.clone(),
            http_port: self.web_port,
            ..console::Config::default()
        })?;
        let result = self.run_bridge(folder, ports, log, &console, stop);
        console.shut_down();
        result
    }

    fn run_bridge(
        &self,
        folder: &Path,
        ports: &[u16],
        log: &history::server::Handle,
        console: &console::Handle,
        stop: &Receiver<()>,
    ) -> Result<(), Error> {
        let config = bridge::Config {
            server: format!("{}:{}", self.host, ports[0]),
            host: self.host.clone(),
            http_port: self.http_port,
            ..bridge::Config::default()
        };
        let Some(bridge) = bridge::start(&config, stop)? else {
            return Ok(());
        };
        let http = bridge.local_addr();
        let ports: Vec<String> = ports.iter().map(|p| format!("{}:{p}", self.host)).collect();
        println!("gRPC server    {}", ports.join("  "));
        println!("bridge         http://{http}");
        println!("message log    http://{}", log.local_addr());
        println!("web console    http://{}", console.local_addr());
        println!();
        println!("Try, from another terminal:");
        println!(
            "  curl -d '{{\"author\":\"anna\",\"text\":\"Hello\"}}' http://{http}/sendMessage"
        );
        println!("  curl -X POST http://{http}/getAndFlushMessages");
        println!(
            "  curl -d '{{\"sender\":\"anna\",\"text\":\"Hello\"}}' http://{}",
            log.local_addr()
        );
        println!("  messenger tail --server {}", ports[0]);
        if self.services.answers_tasks() {
            let folder = folder.display();
            println!("  messenger jobs send --data-dir {folder} user42 fact:100");
            println!("  messenger jobs list --data-dir {folder}");
        }
        println!();
        println!("Ctrl-C ends it.");
        stop.recv()?;
        bridge.shut_down();
        Ok(())
    }
}
