//! The bridge: a gateway from plain HTTP to the chat, for programs that poll.
//!
//! Two threads and a postbox: "http-loop" answers one request after the other,
//! "stream-reader" fills the postbox and reconnects. They share nothing else. A flush that
//! waits for messages does so in `line`, before the loop.

mod api;
mod line;
mod link;
pub mod postbox;
mod prefer;
mod sender;
mod step;
mod stream_reader;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};

use super::client::ChatClient;
use crate::fanout::clock::Timestamp;
use crate::grpc::client::{Connection, Settings, environment};
use crate::http::{Front, Limits, Serving};
use crate::metrics;
use crate::throttle::Throttle;
use postbox::{Capacity, Postbox};

use api::Api;
pub use api::NEEDS;
use line::Line;
use link::Link;
use sender::Sender;
pub use step::Stepper;
use step::Stepping;
use stream_reader::StreamReader;

#[derive(Clone, Debug)]
pub struct Config {
    /// The chat server, host:port.
    pub server: String,
    pub host: String,
    /// 0 is any free port.
    pub http_port: u16,
    /// Maximum wait for the first subscription before listening.
    pub connect_wait: Duration,
    /// Time for a server that cannot confirm a subscription to register it.
    pub settle: Duration,
    /// The deadline of a send, however often it is tried.
    pub send_timeout: Duration,
    pub connection: Settings,
    pub postbox: Capacity,
    pub http: Limits,
    /// With it, the loop stops for somebody who looks.
    pub step: Option<Arc<dyn Stepper>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: "localhost:51075".into(),
            host: "0.0.0.0".into(),
            http_port: 8080,
            connect_wait: Duration::from_secs(5),
            settle: Duration::from_millis(200),
            send_timeout: Duration::from_secs(5),
            connection: Settings::default(),
            postbox: Capacity::default(),
            http: Limits::default(),
            step: None,
        }
    }
}

/// How long /readyz waits for the server's health, after a message was not sent.
const TRIAL: Duration = Duration::from_secs(1);

/// A running bridge.
pub struct Handle {
    http: Serving,
    reader: StreamReader,
}

/// Connects, waits until the subscription is live or `connect_wait` is over, and
/// only then opens the HTTP port. `None` when `stop` came first.
///
/// # Errors
/// A port that is taken, or a thread that cannot be started.
pub fn start(config: &Config, stop: &Receiver<()>) -> std::io::Result<Option<Handle>> {
    // The port is reserved first, so that a taken one is known at once.
    let front = Front::bind_named(&config.host, config.http_port)?.named("bridge");
    // A connection each, so that incoming messages cause no head-of-line blocking
    // for answers; one completion queue for both, since two that poll in one
    // process wake each other.
    let environment = environment();
    let connect = || Connection::new(environment.clone(), &config.server, &config.connection);
    let reading = Arc::new(ChatClient::over(connect()));
    let postbox = Arc::new(Postbox::new(config.postbox));
    let kept = postbox.clone();
    metrics::at_scrape(move || metrics::set(&metrics::POSTBOX, &[], kept.waiting()));
    metrics::add(&metrics::REPEATED, &["bridge"], 0);
    metrics::add(&metrics::GAPS, &[], 0);
    drop(metrics::hold(&metrics::WAITING, &[]));
    let link = Arc::new(Link::default());
    let (live_sender, live) = bounded(1);
    let reader = StreamReader::start(config, &reading, &postbox, &link, live_sender)?;
    select! {
        recv(live) -> _ => {}
        recv(stop) -> _ => {
            reader.shut_down();
            return Ok(None);
        }
        default(config.connect_wait) => {
            link.set_open_early();
            tracing::warn!(
                server = config.server,
                "no subscription yet; the HTTP port opens without one: sends fail, and \
                 messages are missed until the first subscription is live"
            );
        }
    }
    let connection = connect();
    let (linked, asked) = (link.clone(), connection.clone());
    let ready = &config.http.ready;
    ready.needs("chat", move || match linked.is_subscribed() {
        true => Ok(()),
        false => Err("no subscription is live".into()),
    });
    ready.tries(move || asked.serves(TRIAL).is_ok());
    let mut limits = config.http.clone();
    let stepper = config.step.clone();
    let stepping = stepper.map(|it| Stepping::new(it, &mut limits));
    let mut api = Api {
        sender: Sender {
            client: ChatClient::over(connection),
            link: link.clone(),
            timeout: config.send_timeout,
        },
        postbox,
        link,
        memory: config.http.memory.clone(),
        last_sent: Timestamp::default(),
        losses: Arc::new(Throttle::new(api::LOSS_LINES)),
        stepping,
    };
    let http = front.with_line(Arc::new(Line(api.postbox.clone()))).serve(
        limits,
        vec![move |request| api.handle(&request)],
        "http-loop",
    )?;
    Ok(Some(Handle { http, reader }))
}

impl Handle {
    /// The address of the HTTP port.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.http.local_addr()
    }

    /// The time before a shutdown: all goes on. Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        self.http.drain(over);
    }

    /// Graceful shutdown: requests in flight are answered, then both threads end.
    /// Takes less than five seconds.
    pub fn shut_down(self) {
        self.http.shutdown();
        self.reader.shut_down();
    }
}
