//! The services that `server` and `demo` host, and their settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::{Error, duration};
use crate::chat::order::Order;
use crate::chat::server::Chat;
use crate::fanout::{broadcast, replay};
use crate::grpc::host::{self, Handle, Hosted};
use crate::grpc::server;
use crate::readiness::Readiness;
use crate::{chat, jobs, ticker, todo};

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Services")]
pub struct Args {
    /// The services to host
    #[arg(
        long,
        env = "MESSENGER_SERVICES",
        default_value = "chat,todo,ticker,message",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    services: Vec<Service>,
    /// Folder for data that survives a restart; without it, data is in memory only
    #[arg(long, env = "MESSENGER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Interval of price changes, 10ms to 60m
    #[arg(long, env = "MESSENGER_TICKER_INTERVAL", default_value = duration::text(ticker::server::Config::default().interval), value_name = "TIME", value_parser = interval)]
    ticker_interval: Duration,
    /// Updates for each requested symbol; 0 is unlimited
    #[arg(
        long,
        env = "MESSENGER_TICKER_UPDATES",
        default_value_t = 5,
        value_name = "N"
    )]
    ticker_updates: u32,
    /// Seed of the prices, to make them repeatable; random without it
    #[arg(long, env = "MESSENGER_TICKER_SEED", value_name = "N")]
    ticker_seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Service {
    Chat,
    Todo,
    Ticker,
    Message,
}

/// Limits of the services.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub chat: chat::message::Limits,
    pub keys: chat::keys::Capacity,
    pub todo: todo::list::Limits,
    /// Backlog of one reader or watcher, over which it is cut as a slow consumer.
    pub backlog: broadcast::Capacity,
    /// What the chat keeps for subscribers that come back.
    pub replay: replay::Bound,
}

impl Args {
    /// Whether there is a chat.
    pub fn have_chat(&self) -> bool {
        self.services.contains(&Service::Chat)
    }

    /// Whether it answers tasks.
    pub fn answers_tasks(&self) -> bool {
        self.services.contains(&Service::Message)
    }

    /// Starts the services, and the server that hosts them.
    ///
    /// The chat's order is `shared` with other servers, if there is one.
    pub fn host(
        &self,
        transport: &server::Config,
        limits: Limits,
        shared: Option<Arc<dyn Order>>,
    ) -> Result<Handle, Error> {
        let handle = host::start(transport, self.start(limits, &transport.ready, shared)?)?;
        // Only now, so that a server that cannot start logs only why.
        if self.services.contains(&Service::Todo) {
            match &self.data_dir {
                Some(folder) => tracing::info!(folder = %folder.display(), "tasks are kept"),
                None => tracing::info!("tasks are in memory only; --data-dir keeps them"),
            }
        }
        Ok(handle)
    }

    fn start(
        &self,
        limits: Limits,
        ready: &Readiness,
        shared: Option<Arc<dyn Order>>,
    ) -> Result<Vec<Box<dyn Hosted>>, Error> {
        let mut services = self.services.clone();
        services.sort_unstable_by_key(|service| *service as u8);
        services.dedup();
        let hosted = services.into_iter().map(|service| match service {
            Service::Chat => {
                let config = chat::server::Config {
                    limits: limits.chat,
                    keys: limits.keys,
                    backlog: limits.backlog,
                    replay: limits.replay,
                };
                Ok(Box::new(match &shared {
                    Some(order) => Chat::on(order.clone(), config),
                    None => Chat::new(config),
                }) as Box<dyn Hosted>)
            }
            Service::Todo => self.todo(limits, ready),
            Service::Ticker => Ok(Box::new(ticker::server::Ticker::start(self.ticker())?) as _),
            Service::Message => Ok(Box::new(jobs::server::Messages::start()?) as _),
        });
        hosted.collect()
    }

    fn todo(&self, limits: Limits, ready: &Readiness) -> Result<Box<dyn Hosted>, Error> {
        Ok(Box::new(todo::server::Todo::start(todo::server::Config {
            limits: limits.todo,
            backlog: limits.backlog,
            data_dir: self.data_dir.clone(),
            ready: ready.clone(),
        })?))
    }

    fn ticker(&self) -> ticker::server::Config {
        ticker::server::Config {
            interval: self.ticker_interval,
            updates: (self.ticker_updates > 0).then_some(self.ticker_updates.into()),
            seed: self.ticker_seed.unwrap_or_else(|| fastrand::u64(..)),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(3600));
    let interval = duration::parse(text)?;
    if (least..=most).contains(&interval) {
        Ok(interval)
    } else {
        Err("has to be between 10ms and 60m".into())
    }
}
