//! `messenger web`, the console.

use super::client::HttpLimits;
use std::sync::Arc;

use super::{Error, descriptors, drain, jobs, metrics, signals, target, tls};
use crate::console;
use crate::grpc::client::Settings;

/// Run the web console: all services in a browser
///
/// Without --auth-tokens, anybody who can connect to its port may read and write. So it
/// listens on the loopback interface only, unless --host is given.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Address,
    #[command(flatten)]
    server_tls: tls::ConnectToServer,
    /// A replica of the message log, https://HOST:PORT for TLS; without it there is no tab
    /// History
    #[arg(long, env = "MESSENGER_HISTORY_ADDR", value_name = "HOST:PORT")]
    history: Option<String>,
    #[command(flatten)]
    history_tls: tls::ConnectToLog,
    /// Show the tab Jobs, for the queue and results of the flags below
    #[arg(long, env = "MESSENGER_WEB_JOBS")]
    jobs: bool,
    /// Address to listen on; there is no login without --auth-tokens
    #[arg(long, env = "MESSENGER_WEB_HOST", default_value = console::Config::default().host)]
    host: String,
    /// HTTP port to listen on; 0 takes any free one and prints it
    #[arg(
        long,
        env = "MESSENGER_WEB_PORT",
        default_value_t = console::Config::default().http_port,
        value_name = "PORT"
    )]
    http_port: u16,
    #[command(flatten)]
    places: jobs::Places,
    #[command(flatten)]
    drain: drain::Args,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    limits: Limits,
}

const EXAMPLES: &str = "\
Examples:
  messenger web                                  then open http://localhost:8090
  messenger web --server chat.example:51075 --http-port 8091
  messenger web --history localhost:8070         with the tab History
  messenger web --jobs                           with the tab Jobs, also at /jobs
  messenger web --host 0.0.0.0                   for everybody who can connect to this machine
  messenger web --auth-tokens tokens.jsonl       for those who log in with a token";

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
struct Limits {
    #[command(flatten)]
    http: HttpLimits,
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop_or_reload()?;
        let places = self.jobs.then_some(&self.places);
        let desk = places.map(jobs::Places::desk);
        let desk = desk.transpose()?.map(Arc::new);
        let door = self.limits.http.access.door(console::NEEDS)?;
        let limits = self.limits.http.without_gate()?;
        let door = door.map(|door| door.with_login(limits.tls.is_some()));
        let config = console::Config {
            jobs: desk,
            server: self.target.server.clone(),
            connection: Settings {
                tls: self.server_tls.read()?,
                token: self.target.token.read()?,
                ..Settings::default()
            },
            // Compose files set variables to nothing when they mean none.
            history_tls: self.history_tls.read()?,
            history: self.history.clone().filter(|address| !address.is_empty()),
            host: self.host.clone(),
            http_port: self.http_port,
            http: limits,
            door: door.map(Arc::new),
        };
        let (access, tls) = (&self.limits.http.access, config.http.tls.is_some());
        access.warn_of_plain_text(&self.host, tls);
        descriptors::check_limit(config.http.connections);
        let ready = &config.http.ready;
        let open = self.metrics.open(ready)?;
        let handle = console::start(&config)?;
        open.listening("web", config.http.scheme(), handle.local_addr())?;
        self.drain.wait(&stop, ready, |time| handle.drain(time))?;
        handle.shut_down();
        Ok(())
    }
}
