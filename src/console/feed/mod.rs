//! The feeds: a thread for each service that reads one stream (gRPC, or HTTP for
//! the message log), publishes its messages to the hub, and reconnects when the
//! stream is lost.

mod chat;
mod history;
mod jobs;
mod pulse;
mod ticker;
mod todo;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use chat::ChatFeed;
use todo::TodoFeed;

use super::CALL_TIMEOUT;
use super::event::Service;
use super::hub::{Hub, NOT_CONNECTED};
use crate::chat::client::ChatClient;
use crate::error::{Code, Error};
use crate::grpc::client::Connection;
use crate::history::client::HistoryClient;
use crate::jobs::client::Desk;
use crate::retry::{Retry, supervised};
use crate::sync::{self, lock};
use crate::ticker::client::Symbol;
use crate::todo::client::TodoClient;

/// The first and the longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A stream that lasted so long was a success.
const LASTING: Duration = Duration::from_secs(1);

/// How long a shutdown waits for the threads, which may be in such a try.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// One service's stream, reopened when it is lost.
trait Feed: Send + 'static {
    const SERVICE: Service;

    /// Opens the stream, calls [`Link::live`], and publishes messages to the hub
    /// until the stream ends.
    ///
    /// # Errors
    /// Why it ended.
    fn follow(&mut self, hub: &Hub, link: &Link) -> Result<Infallible, Error>;
}

/// How a feed's stream is ended from outside.
#[derive(Default)]
struct Link {
    stream: Mutex<Stop>,
}

#[derive(Default)]
struct Stop {
    stopping: bool,
    /// Ends the stream that is open.
    abort: Option<Box<dyn FnOnce() + Send>>,
    /// Whether [`Link::live`] was called for this stream.
    live: bool,
}

impl Link {
    /// The stream is open. From now on a shutdown aborts it.
    fn opened(&self, abort: impl FnOnce() + Send + 'static) {
        let stopping = self.with(|stop| {
            stop.abort = Some(Box::new(abort));
            stop.stopping
        });
        if stopping {
            self.abort();
        }
    }

    /// The service is reached.
    fn live(&self, hub: &Hub, service: Service) {
        self.with(|stop| stop.live = true);
        hub.status(service, None);
    }

    /// Ends the stream, which the feed then opens again.
    fn abort(&self) {
        if let Some(abort) = self.with(|stop| stop.abort.take()) {
            abort();
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut Stop) -> R) -> R {
        change(&mut lock(&self.stream))
    }
}

/// All feeds as an owned value.
pub struct Feeds {
    links: Vec<(Service, Arc<Link>)>,
    /// Disconnected to stop the threads.
    running: Sender<()>,
    /// Disconnected by the threads at their end.
    over: Receiver<()>,
}

impl Feeds {
    /// Starts all threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        connection: &Connection,
        history: Option<HistoryClient>,
        jobs: Option<Arc<Desk>>,
        hub: &Arc<Hub>,
        asks: Receiver<Symbol>,
    ) -> std::io::Result<Self> {
        let (running, stop) = bounded(0);
        let (over_sender, over) = bounded(0);
        let mut feeds = Self {
            links: Vec::new(),
            running,
            over,
        };
        let threads = Threads {
            hub: hub.clone(),
            stop,
            _over: over_sender,
        };
        let (ticker, asker) = ticker::new(connection, asks);
        let client = ChatClient::over(connection.clone());
        feeds.add(&threads, ChatFeed::new(client))?;
        let client = TodoClient::over(connection.clone(), CALL_TIMEOUT);
        feeds.add(&threads, TodoFeed { client })?;
        feeds.add(&threads, ticker)?;
        // Those of this server.
        let links = feeds.links.clone();
        let missing = |service| {
            let error = Error::new(Code::Unimplemented, "this console has none");
            hub.status(service, Some(error));
        };
        match history {
            Some(client) => feeds.add(&threads, history::HistoryFeed { client })?,
            None => missing(Service::History),
        }
        match jobs {
            Some(jobs) => feeds.add(&threads, jobs::JobsFeed { jobs })?,
            None => missing(Service::Jobs),
        }
        // These two may be in a call at the end, and it does not matter then.
        let Threads { hub, stop, .. } = threads;
        let asker_stop = stop.clone();
        let (connection, pulse_hub) = (connection.clone(), hub.clone());
        spawn("web-ask", move || asker.run(&hub, &asker_stop))?;
        spawn("web-pulse", move || {
            pulse::run(&connection, &links, &pulse_hub, &stop);
        })?;
        Ok(feeds)
    }

    fn add<F: Feed>(&mut self, threads: &Threads, mut feed: F) -> std::io::Result<()> {
        let link = Arc::new(Link::default());
        self.links.push((F::SERVICE, link.clone()));
        let threads = threads.clone();
        let name = format!("web-{}", F::SERVICE.name());
        spawn(&name, move || keep(&mut feed, &threads, &link))
    }

    /// Ends the threads; they are not waited for longer than [`JOIN_WAIT`].
    pub fn shut_down(self) {
        drop(self.running);
        for (_, link) in &self.links {
            link.with(|stop| stop.stopping = true);
            link.abort();
        }
        if self.over.recv_timeout(JOIN_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a feed is still connecting; shutting down without it");
        }
    }
}

#[derive(Clone)]
struct Threads {
    hub: Arc<Hub>,
    stop: Receiver<()>,
    /// Dropped at a thread's end.
    _over: Sender<()>,
}

fn spawn(name: &str, work: impl FnMut() + Send + 'static) -> std::io::Result<()> {
    sync::spawn(name, move || supervised(work)).map(drop)
}

fn keep<F: Feed>(feed: &mut F, threads: &Threads, link: &Link) {
    let service = F::SERVICE.name();
    let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
    // After a panic too.
    link.with(|stop| stop.live = false);
    let down = Error::unavailable(NOT_CONNECTED);
    threads.hub.status(F::SERVICE, Some(down));
    loop {
        let started = Instant::now();
        let Err(error) = feed.follow(&threads.hub, link);
        let was_live = link.with(|stop| {
            stop.abort = None;
            std::mem::take(&mut stop.live)
        });
        let stopped = threads.stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected);
        if stopped {
            return;
        }
        threads.hub.status(F::SERVICE, Some(error.clone()));
        if was_live && started.elapsed() >= LASTING {
            retry.succeeded();
        }
        if error.is_refusal() {
            retry.slow_down();
        }
        if was_live {
            tracing::warn!(%error, service, "the stream is lost; connecting again");
        } else if retry.is_news(&error) {
            tracing::warn!(%error, service, "cannot reach the service; trying again");
        }
        if retry.wait(&threads.stop).is_err() {
            return;
        }
    }
}
