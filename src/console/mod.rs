//! The web console: chat, to-do list and ticker of one server, a message log and
//! jobs, in a browser.
//!
//! Each service has a feed, with a thread of its own: "web-chat", "web-todo" and
//! "web-ticker" read a gRPC stream, "web-history" a stream over HTTP, and "web-jobs"
//! polls the queue and the results. Feeds publish into the `Hub`, and every page
//! sees its events in the same order.
//!
//! A page has one stream of server-sent events, written by its connection's own
//! thread. The lanes ("web-lane-N") start it, and answer calls and assets. The
//! console must not know how the services work: it uses their clients only.

mod api;
mod assets;
mod event;
mod feed;
mod hub;
mod jobs;
mod log;
mod replay;
mod source;
mod watched;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::access::gate::Door;
use crate::chat::client::ChatClient;
use crate::fanout::broadcast::Capacity;
use crate::grpc::client::{Connection, Settings};
use crate::grpc::environment::environment;
use crate::http::{Front, Limits, Serving};
use crate::jobs::client::Desk;
use crate::reload::Live;
use crate::tls;
use crate::todo::client::TodoClient;

use crate::history::client::HistoryClient;
use api::Api;
pub use api::NEEDS;
use event::Service;
use feed::Feeds;
use hub::Hub;

/// Lanes for calls, which may wait for a service, and for all else, which does not.
const LANES: usize = 4;
const QUICK_LANES: usize = 2;

/// Maximum wait for the services before listening.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Time for a server that cannot confirm a subscription to register it.
const SETTLE: Duration = Duration::from_millis(200);

/// The deadline of calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Backlog of one page in messages, over which it is cut as a slow consumer.
const BACKLOG: usize = 1024;

/// Symbols of all pages together: what the server takes from one stream.
const SYMBOLS: usize = 100;

/// How long /readyz waits for a service, after a call that writes has failed.
const TRIAL: Duration = Duration::from_secs(1);

/// Requests for symbols that may wait to be requested; over it they are requested a second
/// later.
const ASKS: usize = 256;

#[derive(Clone)]
pub struct Config {
    /// The server, host:port.
    pub server: String,
    /// A replica of the history service, host:port or https://host:port. Without one,
    /// pages have no tab for it.
    pub history: Option<String>,
    pub history_tls: Option<Arc<Live<tls::Client>>>,
    /// Queue and results. Without them, pages have no tab for jobs.
    pub jobs: Option<Arc<Desk>>,
    /// The address to listen on. There is no login by default, so that is the loopback
    /// interface.
    pub host: String,
    /// 0 is any free port.
    pub http_port: u16,
    pub connection: Settings,
    pub http: Limits,
    /// Who may ask, and how often; its gate comes before that of `http`.
    pub door: Option<Arc<Door>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: "localhost:51075".into(),
            history: None,
            history_tls: None,
            jobs: None,
            host: "127.0.0.1".into(),
            http_port: 8090,
            connection: Settings::default(),
            http: Limits::default(),
            door: None,
        }
    }
}

/// A running console.
pub struct Handle {
    hub: Arc<Hub>,
    feeds: Feeds,
    http: Serving,
}

/// Connects, waits until the services are reached or a second is over, and
/// opens the HTTP port.
///
/// # Errors
/// A port that is taken, or threads that cannot be started.
pub fn start(config: &Config) -> std::io::Result<Handle> {
    let front = Front::bind_named(&config.host, config.http_port)?.named("console");
    let front = front.keep_lanes(QUICK_LANES, |_, path| !path.starts_with("/api/"));
    // A connection and a completion queue each, so that streams cause no
    // head-of-line blocking for calls.
    let connect = |name: &str| {
        let environment = environment(name, 1);
        Connection::new(environment, &config.server, &config.connection)
    };
    let (ask, asks) = bounded(ASKS);
    let backlog = Capacity {
        messages: BACKLOG,
        ..Capacity::default()
    };
    let hub = Arc::new(Hub::new(backlog, SYMBOLS, ask));
    let history = config.history.as_ref().map(|address| {
        let (tls, token) = (&config.history_tls, &config.connection.token);
        HistoryClient::new(address, tls.clone(), token.clone(), CALL_TIMEOUT)
    });
    let feeds = connect("grpc-feed");
    let feeds = Feeds::start(&feeds, history.clone(), config.jobs.clone(), &hub, asks)?;
    hub.wait_until_up(Instant::now() + CONNECT_WAIT);
    let calls = connect("grpc-call");
    for service in Service::ALL {
        let hub = hub.clone();
        let ready = &config.http.ready;
        ready.needs(service.name(), move || hub.check(service));
    }
    let (server, log, desk) = (calls.clone(), history.clone(), config.jobs.clone());
    config.http.ready.tries(move || {
        let (log, desk) = (log.as_ref(), desk.as_ref());
        server.serves(TRIAL).is_ok()
            && log.is_none_or(|log| log.is_ready().is_ok())
            && desk.is_none_or(|desk| desk.depth(TRIAL).is_ok())
    });
    let api = Api {
        chat: ChatClient::over(calls.clone()),
        todo: TodoClient::over(calls, CALL_TIMEOUT),
        history,
        jobs: config.jobs.clone(),
        hub: hub.clone(),
        door: config.door.clone(),
    };
    let lanes = (0..LANES + QUICK_LANES).map(|_| {
        let api = api.clone();
        move |request| api.handle(&request)
    });
    let mut limits = config.http.clone();
    if let Some(door) = &config.door {
        limits.gate = Some(door.clone());
    }
    let http = front.serve(limits, lanes.collect(), "web-lane")?;
    Ok(Handle { hub, feeds, http })
}

impl Handle {
    /// The address of the HTTP port.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.http.local_addr()
    }

    /// The time before a shutdown: pages' streams end one by one, calls are answered.
    /// Blocks for all of it.
    pub fn drain(&self, over: Duration) {
        self.http.drain(over);
    }

    /// Graceful shutdown: ends all pages' streams, then the feeds, then the port.
    /// Takes less than six seconds, and much less if the server answers.
    pub fn shut_down(self) {
        self.hub.close();
        self.feeds.shut_down();
        self.http.shutdown();
    }
}
