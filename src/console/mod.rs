//! The web console: chat, to-do list and ticker of one server, and a message log,
//! in a browser.
//!
//! Three feeds ("web-chat", "web-todo", "web-ticker") keep one gRPC stream each,
//! "web-history" one by HTTP, "web-jobs" looks for jobs, and they publish what comes into the `Hub`, whose one order every page sees. A
//! page has one stream of server-sent events, written by its connection's own
//! thread; the lanes ("web-lane-N") only start it, and answer calls and assets.
//! It must not know how the services work: it knows them by gRPC and HTTP alone.

mod api;
mod assets;
mod event;
mod feed;
mod hub;
mod jobs;
mod log;
mod replay;
mod source;
mod wishes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::chat::client::ChatClient;
use crate::fanout::broadcast::Capacity;
use crate::grpc::client::{Connection, Keepalive, named_environment};
use crate::http::{Front, Limits, Serving};
use crate::jobs::client::Desk;
use crate::todo::client::TodoClient;

use crate::history::client::HistoryClient;
use api::Api;
use feed::{Feeds, Others, Settings};
use hub::Hub;

/// Loops for requests: a call that waits for the server leaves three.
const LANES: usize = 4;

/// Symbols of all pages together: what the server takes from one stream.
const SYMBOLS: usize = 100;

/// Symbols that may wait to be asked for; those that find no room are asked for
/// a second later.
const ASKS: usize = 256;

#[derive(Clone, Debug)]
pub struct Config {
    /// The server, host:port.
    pub server: String,
    /// A replica of the history service, host:port. Without one, pages have no tab
    /// for it.
    pub history: Option<String>,
    /// Likewise.
    pub jobs: Option<Arc<Desk>>,
    /// It has no login, so it is for this machine only unless somebody decides
    /// otherwise.
    pub host: String,
    /// 0 is any free port.
    pub http_port: u16,
    /// How long the HTTP port stays closed while the services are not reached.
    pub connect_wait: Duration,
    /// What a server that does not acknowledge gets to register a subscription.
    pub settle: Duration,
    /// The deadline of calls.
    pub call_timeout: Duration,
    pub keepalive: Keepalive,
    pub http: Limits,
    /// What may wait for one page before it is cut.
    pub backlog: Capacity,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: "localhost:51075".into(),
            history: None,
            jobs: None,
            host: "127.0.0.1".into(),
            http_port: 8090,
            connect_wait: Duration::from_secs(1),
            settle: Duration::from_millis(200),
            call_timeout: Duration::from_secs(5),
            keepalive: Keepalive::default(),
            http: Limits::default(),
            backlog: Capacity {
                messages: 1024,
                bytes: 8 * 1024 * 1024,
            },
        }
    }
}

/// A console that serves.
pub struct Handle {
    hub: Arc<Hub>,
    feeds: Feeds,
    http: Serving,
}

/// Connects, waits until the services are reached or `connect_wait` is over, and
/// opens the HTTP port.
///
/// # Errors
/// A port that is taken, or no threads to be had.
pub fn start(config: &Config) -> std::io::Result<Handle> {
    let front = Front::bind_named(&config.host, config.http_port)?;
    // A connection and a completion queue each: what the feeds bring in must not
    // hold up the answer that somebody waits for.
    let connect = |name: &str| {
        let environment = named_environment(name);
        Connection::new(environment, &config.server, config.keepalive)
    };
    let (ask, asks) = bounded(ASKS);
    let hub = Arc::new(Hub::new(config.backlog, SYMBOLS, ask));
    let settings = Settings {
        call_timeout: config.call_timeout,
        settle: config.settle,
    };
    let history = config.history.as_ref();
    let history = history.map(|address| HistoryClient::new(address, config.call_timeout));
    let feeds = connect("grpc-feed");
    let others = Others {
        history: history.clone(),
        jobs: config.jobs.clone(),
    };
    let feeds = Feeds::start(&feeds, &settings, others, &hub, asks)?;
    hub.wait_until_up(Instant::now() + config.connect_wait);
    let calls = connect("grpc-call");
    let api = Api {
        chat: ChatClient::over(calls.clone()),
        todo: TodoClient::over(calls, config.call_timeout),
        history,
        jobs: config.jobs.clone(),
        call_timeout: config.call_timeout,
        hub: hub.clone(),
        local_only: front.local_addr().ip().is_loopback(),
    };
    let lanes = (0..LANES).map(|_| {
        let api = api.clone();
        move |request| api.handle(&request)
    });
    let http = front.serve(config.http.clone(), lanes.collect(), "web-lane")?;
    Ok(Handle { hub, feeds, http })
}

impl Handle {
    /// The address of the HTTP port.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.http.local_addr()
    }

    /// Ends all pages' streams, then the feeds, then the port; takes less than
    /// six seconds, and much less if the server answers.
    pub fn shut_down(self) {
        self.hub.close();
        self.feeds.shut_down();
        self.http.shutdown();
    }
}
