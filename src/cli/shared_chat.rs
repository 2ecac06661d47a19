//! The flags for a chat that several servers share.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::services::Limits;
use super::{Error, duration};
use crate::chat::shared::{Config, Shared};
use crate::db::address::Address;
use crate::db::log::Retain;
use crate::readiness::Readiness;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "One chat over several servers")]
pub struct Args {
    /// PostgreSQL, as postgresql://USER:PASSWORD@HOST:PORT/NAME: all servers on one database
    /// are one chat; without it, this server is a chat of its own, in memory
    #[arg(
        long,
        env = "MESSENGER_CHAT_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// The same database for LISTEN, past a pooler in transaction mode, which breaks that: a
    /// server that hears nothing does not start
    #[arg(
        long,
        env = "MESSENGER_CHAT_LISTEN_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    listen_url: Option<String>,
    /// Maximum wait for the database, of a message and at the start
    #[arg(long, env = "MESSENGER_DATABASE_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = duration::of_database)]
    database_timeout: Duration,
    /// Age at which messages are removed from the database, and their idempotency keys with
    /// them; the last ten stay
    #[arg(long, env = "MESSENGER_RETAIN_AGE", default_value = "24h", value_name = "TIME", value_parser = duration::at_least_1s)]
    retain_age: Duration,
    /// Remove all but so many of the newest messages from the database, of any age
    #[arg(long, env = "MESSENGER_RETAIN_MESSAGES", value_name = "N",
          value_parser = clap::value_parser!(i64).range(10..))]
    retain_messages: Option<i64>,
    /// Remove all but the newest messages that take about so many bytes together, senders, texts
    /// and keys, from the database, of any age
    #[arg(long, env = "MESSENGER_RETAIN_BYTES", value_name = "BYTES",
          value_parser = clap::value_parser!(i64).range(1 << 20..))]
    retain_bytes: Option<i64>,
}

/// What a server's database is opened for.
pub enum Order {
    /// None: the chat is this server's own.
    Own,
    Shared(Arc<Shared>),
    /// It was told to stop meanwhile.
    Stopped,
}

impl Args {
    /// Opens the database, if one was given.
    pub fn open(
        &self,
        limits: &Limits,
        ready: &Readiness,
        stop: &Receiver<()>,
    ) -> Result<Order, Error> {
        // Compose files set variables to nothing when they mean none.
        let given = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
        let Some(url) = given(&self.database_url) else {
            return Ok(Order::Own);
        };
        let address = |url: &str| Address::parse(url, "messenger server", self.database_timeout);
        let config = Config {
            address: address(&url)?,
            listen: address(&given(&self.listen_url).unwrap_or(url))?,
            timeout: self.database_timeout,
            retain: Retain {
                newest: self.retain_messages,
                age: Some(self.retain_age),
                bytes: self.retain_bytes,
            },
            waiting: limits.backlog.together,
            backlog: limits.backlog,
            replay: limits.replay,
        };
        tracing::info!(database = %config.address, "one chat with all servers on this database");
        let shared = Shared::start(config, ready, stop)?;
        Ok(shared.map_or(Order::Stopped, Order::Shared))
    }
}
