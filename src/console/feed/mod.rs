//! The feeds: a thread for each service that keeps one stream (by gRPC, and by
//! HTTP of the message log), brings what comes to the hub, and comes back when the
//! stream is lost.

mod chat;
mod history;
mod jobs;
mod pulse;
mod ticker;
mod todo;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use pulse::Pulse;

use super::event::Service;
use super::hub::Hub;
use crate::error::{Code, Error};
use crate::grpc::client::Connection;
use crate::history::client::HistoryClient;
use crate::jobs::client::Desk;
use crate::retry::Retry;
use crate::sync::lock;
use crate::ticker::client::Symbol;

/// The first and the longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A stream that lasted so long was a success.
const LASTING: Duration = Duration::from_secs(1);

/// How long the end waits for the threads, which may be in such a try.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// What all feeds need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    pub call_timeout: Duration,
    pub settle: Duration,
}

/// What is not the server's.
pub struct Others {
    pub history: Option<HistoryClient>,
    pub jobs: Option<Arc<Desk>>,
}

/// One stream, again and again.
trait Feed: Send + 'static {
    const SERVICE: Service;
    const THREAD: &'static str;

    /// Opens the stream, says so by [`Link::live`], and brings what comes to the
    /// hub.
    ///
    /// # Errors
    /// Why it is over.
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
    /// The stream exists. From now on the end of the console ends it.
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
    links: Vec<Arc<Link>>,
    /// Disconnected to stop the threads.
    running: Sender<()>,
    /// Disconnected by the threads at their end.
    over: Receiver<()>,
}

impl Feeds {
    /// Starts all threads.
    ///
    /// # Errors
    /// No threads to be had.
    pub fn start(
        connection: &Connection,
        settings: &Settings,
        others: Others,
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
        let (ticker, asker) = ticker::new(connection, settings, asks);
        feeds.add(&threads, chat::ChatFeed::new(connection, settings))?;
        feeds.add(&threads, todo::TodoFeed::new(connection, settings))?;
        feeds.add(&threads, ticker)?;
        let pulse = Pulse {
            connection: connection.clone(),
            call_timeout: settings.call_timeout,
            // Those of this server.
            links: feeds.links.clone(),
        };
        let missing = |service| {
            let error = Error::new(Code::Unimplemented, "this console has none");
            hub.status(service, Some(error));
        };
        match others.history {
            Some(client) => feeds.add(&threads, history::HistoryFeed { client })?,
            None => missing(Service::History),
        }
        let call_timeout = settings.call_timeout;
        match others.jobs {
            Some(jobs) => feeds.add(&threads, jobs::JobsFeed { jobs, call_timeout })?,
            None => missing(Service::Jobs),
        }
        // These two may be in a call at the end, and it does not matter then.
        let Threads { hub, stop, .. } = threads;
        let asker_stop = stop.clone();
        spawn("web-ask", move || asker.run(&hub, &asker_stop))?;
        spawn("web-pulse", move || pulse.run(&stop))?;
        Ok(feeds)
    }

    fn add<F: Feed>(&mut self, threads: &Threads, feed: F) -> std::io::Result<()> {
        let link = Arc::new(Link::default());
        self.links.push(link.clone());
        let threads = threads.clone();
        spawn(F::THREAD, move || keep(feed, &threads, &link))
    }

    /// Ends the threads; they are not waited for longer than [`JOIN_WAIT`].
    pub fn shut_down(self) {
        drop(self.running);
        for link in &self.links {
            link.with(|stop| stop.stopping = true);
            link.abort();
        }
        if self.over.recv_timeout(JOIN_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a feed is still trying to connect; it is left behind");
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

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work)?;
    Ok(())
}

fn keep<F: Feed>(mut feed: F, threads: &Threads, link: &Link) {
    let service = F::SERVICE.name();
    let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
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
