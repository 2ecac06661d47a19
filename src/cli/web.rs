//! `messenger web`, the console.

use super::client::HttpLimits;
use std::sync::Arc;

use super::{Error, descriptors, jobs, signals, target};
use crate::console;

/// Run the web console: chat, to-do list, ticker and message log in a browser
///
/// It has no login: whoever reaches its port may read and write. So it listens
/// on the loopback interface unless --host says otherwise.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// A replica of the history service; without one there is no tab for it
    #[arg(long, env = "MESSENGER_HISTORY_ADDR", value_name = "HOST:PORT")]
    history: Option<String>,
    /// The tab Jobs, with the queue and the results that the other flags name
    #[arg(long, env = "MESSENGER_WEB_JOBS")]
    jobs: bool,
    /// Address to listen on; there is no login
    #[arg(long, env = "MESSENGER_WEB_HOST", default_value = "127.0.0.1")]
    host: String,
    /// HTTP port to listen on; 0 takes any free one and prints it
    #[arg(
        long,
        env = "MESSENGER_WEB_PORT",
        default_value_t = 8090,
        value_name = "PORT"
    )]
    http_port: u16,
    #[command(flatten)]
    places: jobs::Places,
    #[command(flatten)]
    limits: Limits,
}

const EXAMPLES: &str = "\
Examples:
  messenger web                                  then open http://localhost:8090
  messenger web --server chat.example:51075 --http-port 8091
  messenger web --history localhost:8070         with the tab History
  messenger web --jobs                           with the tab Jobs, also at /jobs
  messenger web --host 0.0.0.0                   for everybody who reaches this machine";

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
struct Limits {
    #[command(flatten)]
    http: HttpLimits,
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let places = self.jobs.then_some(&self.places);
        let desk = places.map(jobs::Places::desk);
        let desk = desk.transpose()?.map(Arc::new);
        let config = console::Config {
            jobs: desk,
            server: self.target.server.clone(),
            // Compose files set variables to nothing when they mean none.
            history: self.history.clone().filter(|address| !address.is_empty()),
            host: self.host.clone(),
            http_port: self.http_port,
            http: self.limits.http.limits(),
            ..console::Config::default()
        };
        descriptors::check_limit(config.http.connections);
        let handle = console::start(&config)?;
        println!("messenger web listening on http://{}", handle.local_addr());
        stop.recv()?;
        tracing::info!("shutting down");
        handle.shut_down();
        Ok(())
    }
}
