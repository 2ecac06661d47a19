//! `messenger client`, the bridge.

use std::sync::Arc;
use std::time::Duration;

use super::step::Step;
use super::{
    Error, access, affinity, descriptors, drain, duration, memory, metrics, signals, target, tls,
    trace,
};
use crate::access::gate;
use crate::chat::bridge;
use crate::chat::bridge::postbox;
use crate::grpc::client::{Keepalive, Settings};
use crate::http;

/// Run the bridge: an HTTP gateway to a chat server
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Address,
    #[command(flatten)]
    server_tls: tls::ConnectToServer,
    /// Address to listen on
    #[arg(long, env = "MESSENGER_HTTP_HOST", default_value = bridge::Config::default().host)]
    host: String,
    /// HTTP port to listen on; 0 takes any free one and prints it
    #[arg(
        long,
        env = "MESSENGER_HTTP_PORT",
        default_value_t = bridge::Config::default().http_port,
        value_name = "PORT"
    )]
    http_port: u16,
    /// Maximum wait for the first subscription before listening
    #[arg(long, env = "MESSENGER_CONNECT_WAIT", default_value = duration::text(bridge::Config::default().connect_wait), value_name = "TIME", value_parser = duration::parse)]
    connect_wait: Duration,
    /// Wait after subscribing to a server that cannot confirm it, such as a Python server
    #[arg(long, env = "MESSENGER_SETTLE", default_value = duration::text(bridge::Config::default().settle), value_name = "TIME", value_parser = duration::parse)]
    settle: Duration,
    /// Deadline of a send, however often it is tried
    #[arg(long, env = "MESSENGER_SEND_TIMEOUT", default_value = duration::text(bridge::Config::default().send_timeout), value_name = "TIME", value_parser = duration::parse)]
    send_timeout: Duration,
    /// Keepalive interval; grpcio servers close connections that ping more often than every 5 minutes
    #[arg(long, env = "MESSENGER_CLIENT_KEEPALIVE", default_value = duration::text(Keepalive::default().interval), value_name = "TIME", value_parser = duration::parse)]
    keepalive: Duration,
    /// Run all threads on this CPU only; a request passes through several threads, and
    /// waking one on another CPU is most of its cost
    #[arg(long, env = "MESSENGER_PIN_CPU", value_name = "N")]
    pin_cpu: Option<u16>,
    /// Stop before each request, gRPC call and answer, show it with the bridge's state, and
    /// go on at a key: step, next request, run; needs a terminal
    #[arg(long, env = "MESSENGER_STEP")]
    step: bool,
    #[command(flatten)]
    drain: drain::Args,
    #[command(flatten)]
    metrics: metrics::Args,
    #[command(flatten)]
    trace: trace::Args,
    #[command(flatten)]
    limits: Limits,
}

const EXAMPLES: &str = "\
Examples:
  messenger client
  messenger client --server chat.example:51075 --http-port 8081
  messenger client --step                      one step of a request at each key
  messenger client --trace bridge.json         for ui.perfetto.dev
  curl -d '{\"author\":\"anna\",\"text\":\"Hello\"}' localhost:8080/sendMessage
  curl -X POST localhost:8080/getAndFlushMessages";

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// Most messages in the postbox; over it the oldest are dropped
    #[arg(
        long,
        env = "MESSENGER_POSTBOX_MESSAGES",
        default_value_t = postbox::Capacity::default().messages,
        value_name = "N"
    )]
    postbox_messages: usize,
    /// Most bytes of authors and texts in the postbox; over it the oldest are dropped
    #[arg(long, env = "MESSENGER_POSTBOX_BYTES", default_value_t = postbox::Capacity::default().bytes, value_name = "BYTES")]
    postbox_bytes: usize,
    #[command(flatten)]
    http: HttpLimits,
}

/// Limits of the HTTP front.
#[derive(clap::Args, Debug)]
pub struct HttpLimits {
    /// Largest request line and header of a request
    #[arg(
        long,
        env = "MESSENGER_HTTP_HEADER_BYTES",
        default_value_t = http::Limits::default().header_bytes,
        value_name = "BYTES"
    )]
    http_header_bytes: usize,
    /// Most header fields of a request
    #[arg(
        long,
        env = "MESSENGER_HTTP_HEADER_FIELDS",
        default_value_t = http::Limits::default().header_fields,
        value_name = "N"
    )]
    http_header_fields: usize,
    /// Largest body of a request
    #[arg(
        long,
        env = "MESSENGER_HTTP_BODY_BYTES",
        default_value_t = http::Limits::default().body_bytes,
        value_name = "BYTES"
    )]
    http_body_bytes: usize,
    /// Maximum time to receive a whole request
    #[arg(long, env = "MESSENGER_HTTP_REQUEST_TIME", default_value = duration::text(http::Limits::default().request_time), value_name = "TIME", value_parser = duration::parse)]
    http_request_time: Duration,
    /// Idle time after which a keep-alive connection is closed
    #[arg(long, env = "MESSENGER_HTTP_IDLE_TIME", default_value = duration::text(http::Limits::default().idle_time), value_name = "TIME", value_parser = duration::parse)]
    http_idle_time: Duration,
    /// Most open connections; at the limit the longest idle one makes room, else 503
    #[arg(
        long,
        env = "MESSENGER_HTTP_CONNECTIONS",
        default_value_t = http::Limits::default().connections,
        value_name = "N"
    )]
    http_connections: usize,
    #[command(flatten)]
    memory: memory::Args,
    #[command(flatten)]
    tls: tls::Listen,
    #[command(flatten)]
    pub access: access::Args,
    /// Another name under which this machine itself may be asked, besides localhost and
    /// addresses, behind a proxy for instance; may be repeated
    #[arg(
        long,
        env = "MESSENGER_ALLOW_HOST",
        value_name = "HOST",
        value_delimiter = ',',
        help_heading = "Web pages"
    )]
    allow_host: Vec<String>,
}

impl HttpLimits {
    /// To be asked for once: the budget and the rates in it count by themselves.
    pub fn limits(&self, paths: &'static [gate::Path]) -> Result<http::Limits, Error> {
        let door = self.access.door(paths)?;
        Ok(http::Limits {
            gate: door.map(|door| Arc::new(door) as _),
            ..self.without_gate()?
        })
    }

    /// The same for a service that has a gate of its own.
    pub fn without_gate(&self) -> Result<http::Limits, Error> {
        Ok(http::Limits {
            header_bytes: self.http_header_bytes,
            header_fields: self.http_header_fields,
            body_bytes: self.http_body_bytes,
            request_time: self.http_request_time,
            idle_time: self.http_idle_time,
            connections: self.http_connections,
            memory: self.memory.budget(),
            hosts: self.allow_host.clone(),
            tls: self.tls.read()?,
            ..http::Limits::default()
        })
    }
}

impl Args {
    fn config(&self) -> Result<bridge::Config, Error> {
        Ok(bridge::Config {
            server: self.target.server.clone(),
            host: self.host.clone(),
            http_port: self.http_port,
            connect_wait: self.connect_wait,
            settle: self.settle,
            send_timeout: self.send_timeout,
            connection: Settings {
                keepalive: Keepalive {
                    interval: self.keepalive,
                    ..Keepalive::default()
                },
                tls: self.server_tls.read()?,
                token: self.target.token.read()?,
            },
            postbox: postbox::Capacity {
                messages: self.limits.postbox_messages,
                bytes: self.limits.postbox_bytes,
            },
            http: self.limits.http.limits(bridge::NEEDS)?,
            step: None,
        })
    }

    pub fn run(&self) -> Result<(), Error> {
        self.pin_cpu.map(affinity::pin).transpose()?;
        let stop = signals::stop_or_reload()?;
        let mut config = self.config()?;
        let step = self.step.then(Step::start).transpose()?;
        config.step = step.as_ref().map(|(step, _)| step.clone() as _);
        let (limit, full) = (config.http.memory.limit(), config.postbox.memory());
        if limit < full {
            return Err(format!(
                "--memory-limit: {limit} bytes, but a full postbox takes {full}: --postbox-bytes and \
                 128 for each of --postbox-messages"
            )
            .into());
        }
        let (access, tls) = (&self.limits.http.access, config.http.tls.is_some());
        access.warn_of_plain_text(&self.host, tls);
        descriptors::check_limit(config.http.connections);
        let ready = &config.http.ready;
        let _trace = self.trace.start("messenger client")?;
        let open = self.metrics.open(ready)?;
        let Some(handle) = bridge::start(&config, &stop)? else {
            return Ok(());
        };
        open.listening("client", config.http.scheme(), handle.local_addr())?;
        self.drain.wait(&stop, ready, |time| handle.drain(time))?;
        if let Some((step, _)) = &step {
            step.run();
        }
        handle.shut_down();
        Ok(())
    }
}
