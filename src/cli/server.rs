//! `messenger server`

use std::num::NonZeroUsize;
use std::time::Duration;

use super::shared_chat::{self, Order};
use super::{Error, access, descriptors, drain, duration, memory, metrics, services, signals, tls};
use crate::budget::Budget;
use crate::fanout::{broadcast, replay};
use crate::grpc::server;
use crate::readiness::Readiness;
use crate::{chat, todo};

/// Run the gRPC server: chat, to-do list, stock ticker and message service
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on
    #[arg(long, env = "MESSENGER_SERVER_HOST", default_value = server::Config::default().host)]
    host: String,
    /// Port to listen on; 0 takes any free one and prints it
    #[arg(long, env = "MESSENGER_SERVER_PORT", default_value_t = server::PORT)]
    port: u16,
    /// Another port to listen on; may be repeated
    #[arg(
        long,
        env = "MESSENGER_ALSO_PORT",
        value_name = "PORT",
        value_delimiter = ','
    )]
    also_port: Vec<u16>,
    /// Completion-queue threads, the counterpart of max_workers in Python
    #[arg(long, env = "MESSENGER_GRPC_THREADS", default_value_t = server::Config::default().threads, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    grpc_threads: u16,
    #[command(flatten)]
    services: services::Args,
    #[command(flatten)]
    shared: shared_chat::Args,
    #[command(flatten)]
    access: access::Args,
    #[command(flatten)]
    drain: drain::Args,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    tls: tls::Listen,
    #[command(flatten)]
    limits: Limits,
}

const EXAMPLES: &str = "\
Examples:
  messenger server
  messenger server --port 0                    any free port, which is printed
  messenger server --also-port 50051           for clients that expect that one
  messenger server --services chat             only the chat
  messenger server --data-dir ~/messenger      tasks survive a restart
  messenger server --database-url postgresql://me@db/chat    one of several servers
  messenger server --auth-tokens tokens.jsonl  only for who has a token
  messenger server --tls-cert server.pem --tls-key server.key
  MESSENGER_SERVER_PORT=6000 messenger server";

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Largest author, in bytes of UTF-8
    #[arg(
        long,
        env = "MESSENGER_MAX_AUTHOR_BYTES",
        default_value_t = chat::message::Limits::default().author_bytes,
        value_name = "BYTES"
    )]
    max_author_bytes: usize,
    /// Largest text, in bytes of UTF-8
    #[arg(
        long,
        env = "MESSENGER_MAX_TEXT_BYTES",
        default_value_t = chat::message::Limits::default().text_bytes,
        value_name = "BYTES"
    )]
    max_text_bytes: usize,
    /// Most idempotency keys of chat messages that are remembered; over it the oldest are
    /// forgotten
    #[arg(long, env = "MESSENGER_IDEMPOTENCY_KEYS", default_value_t = chat::keys::Capacity::default().keys, value_name = "N")]
    idempotency_keys: NonZeroUsize,
    /// How long an idempotency key of a chat message is remembered
    #[arg(long, env = "MESSENGER_IDEMPOTENCY_AGE", default_value = duration::text(chat::keys::Capacity::default().age), value_name = "TIME", value_parser = duration::at_least_1s)]
    idempotency_age: Duration,
    /// Largest title of a task, in bytes of UTF-8
    #[arg(
        long,
        env = "MESSENGER_MAX_TITLE_BYTES",
        default_value_t = todo::list::Limits::default().title_bytes,
        value_name = "BYTES"
    )]
    max_title_bytes: usize,
    /// Most tasks in the to-do list
    #[arg(
        long,
        env = "MESSENGER_MAX_TASKS",
        default_value_t = todo::list::Limits::default().tasks,
        value_name = "N"
    )]
    max_tasks: usize,
    /// Largest gRPC message that is accepted
    #[arg(
        long,
        env = "MESSENGER_MAX_RECEIVE_BYTES",
        default_value_t = server::Config::default().receive_bytes,
        value_name = "BYTES"
    )]
    max_receive_bytes: usize,
    /// Largest metadata of a call, all entries together
    #[arg(
        long,
        env = "MESSENGER_MAX_METADATA_BYTES",
        default_value_t = server::Config::default().metadata_bytes,
        value_name = "BYTES"
    )]
    max_metadata_bytes: usize,
    /// Most open streams; more get RESOURCE_EXHAUSTED
    #[arg(
        long,
        env = "MESSENGER_MAX_STREAMS",
        default_value_t = server::Config::default().streams,
        value_name = "N"
    )]
    max_streams: usize,
    /// Greatest age of a stream, a tenth more or less for each; then it ends with
    /// UNAVAILABLE, so that clients spread anew over several servers
    #[arg(long, env = "MESSENGER_MAX_STREAM_AGE", value_name = "TIME", value_parser = duration::at_least_1s)]
    max_stream_age: Option<Duration>,
    /// Backlog of one reader in messages; over it the reader is cut as a slow consumer
    #[arg(
        long,
        env = "MESSENGER_BACKLOG_MESSAGES",
        default_value_t = broadcast::Capacity::default().messages,
        value_name = "N"
    )]
    backlog_messages: usize,
    /// Backlog of one reader in bytes; over it the reader is cut as a slow consumer
    #[arg(long, env = "MESSENGER_BACKLOG_BYTES", default_value_t = broadcast::Capacity::default().bytes, value_name = "BYTES")]
    backlog_bytes: usize,
    /// Messages that are kept for subscribers that come back, once somebody has called
    /// Subscribe; 0 keeps none
    #[arg(long, env = "MESSENGER_REPLAY_MESSAGES", default_value_t = replay::Bound::default().messages, value_name = "N")]
    replay_messages: usize,
    /// The same in bytes; 0 keeps none
    #[arg(long, env = "MESSENGER_REPLAY_BYTES", default_value_t = replay::Bound::default().bytes, value_name = "BYTES")]
    replay_bytes: usize,
    /// Greatest age of a message that is kept; 0 keeps none
    #[arg(long, env = "MESSENGER_REPLAY_AGE", default_value = duration::text(replay::Bound::default().age), value_name = "TIME", value_parser = duration::parse)]
    replay_age: Duration,
    /// Keepalive interval: a silent client is pinged after this time
    #[arg(long, env = "MESSENGER_KEEPALIVE", default_value = duration::text(server::Config::default().keepalive), value_name = "TIME", value_parser = duration::parse)]
    keepalive: Duration,
    /// Keepalive timeout: without an answer to the ping, the connection is closed
    #[arg(long, env = "MESSENGER_KEEPALIVE_TIMEOUT", default_value = duration::text(server::Config::default().keepalive_timeout), value_name = "TIME", value_parser = duration::parse)]
    keepalive_timeout: Duration,
    #[command(flatten)]
    memory: memory::Args,
}

impl Args {
    fn transport(&self, memory: Budget) -> Result<server::Config, Error> {
        let limits = &self.limits;
        let mut ports = vec![self.port];
        ports.extend(&self.also_port);
        Ok(server::Config {
            host: self.host.clone(),
            ports,
            threads: self.grpc_threads,
            receive_bytes: limits.max_receive_bytes,
            metadata_bytes: limits.max_metadata_bytes,
            memory,
            streams: limits.max_streams,
            stream_age: limits.max_stream_age,
            ready: Readiness::default(),
            keepalive: limits.keepalive,
            keepalive_timeout: limits.keepalive_timeout,
            admission: self.access.admission()?,
            tls: self.tls.read()?,
        })
    }

    fn limits(&self, memory: &Budget) -> services::Limits {
        let limits = &self.limits;
        services::Limits {
            chat: chat::message::Limits {
                author_bytes: limits.max_author_bytes,
                text_bytes: limits.max_text_bytes,
            },
            keys: chat::keys::Capacity {
                keys: limits.idempotency_keys,
                age: limits.idempotency_age,
            },
            todo: todo::list::Limits {
                title_bytes: limits.max_title_bytes,
                tasks: limits.max_tasks,
                ..todo::list::Limits::default()
            },
            backlog: broadcast::Capacity {
                messages: limits.backlog_messages,
                bytes: limits.backlog_bytes,
                together: broadcast::Capacity::together(memory.limit()),
            },
            replay: replay::Bound {
                messages: limits.replay_messages,
                bytes: limits.replay_bytes,
                age: limits.replay_age,
            },
        }
    }

    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop_or_reload()?;
        let memory = self.limits.memory.budget();
        let limits = self.limits(&memory);
        let transport = self.transport(memory)?;
        let tls = transport.tls.is_some();
        self.access.warn_of_plain_text(&self.host, tls);
        descriptors::check_limit(transport.streams);
        let _metrics = self.metrics.open(&transport.ready)?;
        let shared = match self.services.have_chat() {
            true => self.shared.open(&limits, &transport.ready, &stop)?,
            false => Order::Own,
        };
        let shared = match shared {
            Order::Own => None,
            Order::Shared(order) => Some(order as _),
            Order::Stopped => return Ok(()),
        };
        let handle = self.services.host(&transport, limits, shared)?;
        for port in handle.ports() {
            println!("messenger server listening on {}:{port}", self.host);
        }
        let ready = &transport.ready;
        self.drain.wait(&stop, ready, |time| handle.drain(time))?;
        handle.shut_down();
        Ok(())
    }
}
