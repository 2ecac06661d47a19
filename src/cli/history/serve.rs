//! `messenger history serve`

use std::time::Duration;

use super::Place;
use crate::cli::client::HttpLimits;
use crate::cli::{Error, descriptors, drain, metrics, signals};
use crate::db::log::Retain;
use crate::history::entry as rules;
use crate::history::server;

/// Run the message log: an HTTP API on SQLite or PostgreSQL
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on
    #[arg(long, env = "MESSENGER_HISTORY_HOST", default_value = "0.0.0.0")]
    host: String,
    /// HTTP port to listen on; 0 takes any free one and prints it
    #[arg(
        long,
        env = "MESSENGER_HISTORY_PORT",
        default_value_t = server::PORT,
        value_name = "PORT"
    )]
    http_port: u16,
    #[command(flatten)]
    place: Place,
    /// Requests that are handled in parallel; also the most messages in one transaction
    #[arg(long, env = "MESSENGER_HISTORY_LANES", default_value_t = 64, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=512))]
    lanes: u16,
    #[command(flatten)]
    retain: RetainArgs,
    #[command(flatten)]
    drain: drain::Args,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    limits: Limits,
}

/// What stays in the log; the newest ten do always.
#[derive(clap::Args, Debug)]
struct RetainArgs {
    /// Remove all but so many of the newest messages; without it all stay
    #[arg(long, env = "MESSENGER_RETAIN_MESSAGES", value_name = "N",
          value_parser = clap::value_parser!(i64).range(10..))]
    retain_messages: Option<i64>,
    /// Remove messages that are older than so many days; without it all stay
    #[arg(long, env = "MESSENGER_RETAIN_DAYS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retain_days: Option<u32>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const EXAMPLES: &str = "\
Examples:
  messenger history serve
  messenger history serve --http-port 8071      another replica on the same file
  DATABASE_URL=postgresql://me@db/log messenger history serve
  messenger history serve --retain-days 90      older messages are removed
  curl -d '{\"sender\":\"anna\",\"text\":\"Hello\"}' localhost:8070
  curl 'localhost:8070/messages?limit=20&before=100'";

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Largest sender, in bytes of UTF-8; at most 2048
    #[arg(
        long,
        env = "MESSENGER_MAX_SENDER_BYTES",
        default_value_t = rules::Limits::default().sender_bytes,
        value_name = "BYTES",
        value_parser = sender_bytes
    )]
    max_sender_bytes: usize,
    /// Largest text, in bytes of UTF-8
    #[arg(
        long,
        env = "MESSENGER_MAX_TEXT_BYTES",
        default_value_t = rules::Limits::default().text_bytes,
        value_name = "BYTES"
    )]
    max_text_bytes: usize,
    #[command(flatten)]
    http: HttpLimits,
}

/// What an index of PostgreSQL holds for sure.
fn sender_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| *bytes <= 2048);
    bytes.ok_or_else(|| "a number of bytes from 0 to 2048".into())
}

impl Args {
    fn config(&self) -> Result<server::Config, Error> {
        Ok(server::Config {
            database: self.place.database()?,
            host: self.host.clone(),
            http_port: self.http_port,
            lanes: usize::from(self.lanes),
            timeout: self.place.database_timeout,
            limits: rules::Limits {
                sender_bytes: self.limits.max_sender_bytes,
                text_bytes: self.limits.max_text_bytes,
            },
            retain: Retain {
                newest: self.retain.retain_messages,
                age: self.retain.retain_days.map(|days| DAY * days),
            },
            http: self.limits.http.limits(server::NEEDS)?,
        })
    }

    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop_or_reload()?;
        let config = self.config()?;
        let (access, tls) = (&self.limits.http.access, config.http.tls.is_some());
        access.warn_of_plain_text(&self.host, tls);
        descriptors::check_limit(config.http.connections);
        let ready = &config.http.ready;
        let open = self.metrics.open(ready)?;
        let Some(handle) = server::start(&config, &stop)? else {
            return Ok(());
        };
        tracing::info!(database = %config.database, "the log is open");
        open.listening("history", config.http.scheme(), handle.local_addr())?;
        self.drain.wait(&stop, ready, |time| handle.drain(time))?;
        handle.shut_down();
        Ok(())
    }
}
