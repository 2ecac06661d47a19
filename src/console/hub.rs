//! The hub between feeds and pages: one lock, under which the state changes and
//! the change is published. A page that opens gets the state, and then every later
//! change exactly once.
//!
//! It must not know gRPC or HTTP. Called by the threads of feeds, lanes and
//! connections.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde_json::Value;

use super::event::{self, Event, Service};
use super::log::Log;
use super::replay::{Bound, Replay};
use super::watched::Watched;
use crate::chat::client::Message;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{Broadcast, Capacity, Closed, Membership, Subscription};
use crate::fanout::clock::Timestamp;
use crate::grpc::meter::count_fanout;
use crate::history::client;
use crate::readiness::Checked;
use crate::sync::lock;
use crate::ticker::client::Symbol;
use crate::ticker::wire::Update;
use crate::todo::client::{Change, TaskList};

/// How much of the chat is kept for pages that reconnect.
const REPLAY: Bound = Bound {
    events: 1_000,
    bytes: 8 * 1024 * 1024,
};

/// What is wrong with a service before the first try.
pub const NOT_CONNECTED: &str = "not connected yet";

pub struct Hub {
    broadcast: Broadcast<Event>,
    state: Mutex<State>,
    /// A service was reached.
    up: Condvar,
    /// Symbols to ask the server for.
    ask: Sender<Symbol>,
}

struct State {
    replay: Replay,
    /// `None` until the list was fetched.
    tasks: Option<TaskList>,
    /// `None` until the log was fetched.
    log: Option<Log>,
    /// `None` until the jobs were fetched.
    jobs: Option<Event>,
    services: [Health; Service::ALL.len()],
    watched: Watched,
}

struct Health {
    service: Service,
    down: Option<Error>,
    since: Timestamp,
    /// When the service last showed that it is alive.
    proved: Instant,
}

/// A page's stream: the state at first, then what is published.
pub struct Page {
    pub first: Vec<Arc<str>>,
    pub subscription: Subscription<Event>,
    /// It leaves the broadcast with this.
    pub _membership: Membership<Event>,
    pub watch: Watch,
}

impl Hub {
    /// `backlog` bounds what waits for a page. Symbols to request are sent to `ask`,
    /// which never blocks.
    pub fn new(backlog: Capacity, symbols: usize, ask: Sender<Symbol>) -> Self {
        let since = Timestamp::now();
        let health = |service| Health {
            service,
            down: Some(Error::unavailable(NOT_CONNECTED)),
            since,
            proved: Instant::now(),
        };
        let epoch = format!("{:x}", fastrand::u64(..));
        let broadcast = Broadcast::new(backlog);
        count_fanout("console", &broadcast);
        Self {
            broadcast,
            state: Mutex::new(State {
                replay: Replay::new(epoch, REPLAY),
                tasks: None,
                log: None,
                jobs: None,
                services: Service::ALL.map(health),
                watched: Watched::new(symbols),
            }),
            up: Condvar::new(),
            ask,
        }
    }

    /// Opens a page's stream, from the chat event `after` on. Invalid symbols, and
    /// those too many, are refused on the stream, in one event.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn open<'a>(
        self: &Arc<Self>,
        after: Option<&str>,
        symbols: impl Iterator<Item = &'a str>,
    ) -> Result<Page, Closed> {
        let mut watch = Watch {
            hub: self.clone(),
            symbols: HashSet::new(),
        };
        let mut first = vec![event::RETRY.into()];
        let mut state = lock(&self.state);
        let (subscription, membership) = self.broadcast.subscribe()?;
        match after.map(|id| state.replay.after(id)) {
            None => {}
            Some(Some(missed)) => first.extend(missed.map(|event| event.text.clone())),
            Some(None) => first.push(event::gap(None).text),
        }
        first.push(event::hello(&state.replay.id()).text);
        first.extend(state.services.iter().map(|health| health.event().text));
        let mut refused: Option<(Vec<&str>, Error)> = None;
        for text in symbols {
            match watch.add(text, &mut state) {
                Ok(newest) => first.extend(newest.map(|event| event.text)),
                Err(error) => refused.get_or_insert((Vec::new(), error)).0.push(text),
            }
        }
        first.extend(refused.map(|(all, error)| event::refused(&all, &error).text));
        let (tasks, log, jobs) = (state.tasks.clone(), state.log.clone(), state.jobs.clone());
        drop(state);
        // Outside, as in `set_tasks`.
        first.extend(tasks.map(|list| event::tasks(&list).text));
        first.extend(log.map(|log| log.event().text));
        first.extend(jobs.map(|jobs| jobs.text));
        Ok(Page {
            first,
            subscription,
            _membership: membership,
            watch,
        })
    }

    pub fn chat(&self, message: &Message) {
        self.publish(|state| Some(state.replay.push(|id| event::chat(id, message))));
    }

    /// Chat messages may have been missed.
    pub fn gap(&self) {
        self.publish(|state| Some(state.replay.push(|id| event::gap(Some(id)))));
    }

    /// The list as it is now.
    pub fn set_tasks(&self, list: TaskList) {
        // Outside the lock: a long list takes a while.
        let event = event::tasks(&list);
        self.publish(|state| {
            state.tasks = Some(list);
            Some(event)
        });
    }

    pub fn task(&self, change: &Change) {
        self.publish(|state| {
            state.tasks.get_or_insert_default().apply(change);
            Some(event::task(change))
        });
    }

    /// The log's newest messages, and its senders, as they are now.
    pub fn set_log(&self, log: Log) {
        let event = log.event();
        self.publish(|state| {
            state.log = Some(log);
            Some(event)
        });
    }

    /// The next message of the log.
    pub fn entry(&self, message: &client::Message) {
        self.publish(|state| state.log.as_mut().map(|log| log.push(message)));
    }

    /// The jobs as they are now; published only if they have changed.
    pub fn jobs(&self, jobs: &Value) {
        let event = event::jobs(jobs);
        self.publish(|state| {
            state.health(Service::Jobs).proved = Instant::now();
            let old = state.jobs.replace(event.clone());
            old.is_none_or(|old| old.text != event.text)
                .then_some(event)
        });
    }

    pub fn has_pages(&self) -> bool {
        self.broadcast.subscribers() > 0
    }

    /// Returns whether the update is a new one that a page shows: then the next
    /// one has to be requested.
    pub fn quote(&self, symbol: Symbol, update: Update) -> bool {
        let mut new = false;
        self.publish(|state| {
            state.health(Service::Ticker).proved = Instant::now();
            let event = state.watched.quote(symbol, update, Instant::now());
            new = event.is_some();
            event
        });
        new
    }

    /// Symbols to ask for: see [`Watched::overdue`].
    pub fn overdue(&self, quiet: Duration) -> Vec<Symbol> {
        lock(&self.state).watched.overdue(quiet, Instant::now())
    }

    /// Whether a page shows it.
    pub fn watches(&self, symbol: &Symbol) -> bool {
        lock(&self.state).watched.has(symbol)
    }

    /// Has the symbol requested soon.
    pub fn ask(&self, symbol: Symbol) {
        let _ = self.ask.try_send(symbol);
    }

    /// A service was reached, or is `down` with this error.
    pub fn status(&self, service: Service, down: Option<Error>) {
        self.publish(|state| {
            let health = state.health(service);
            health.proved = Instant::now();
            let old = std::mem::replace(&mut health.down, down);
            if old.is_some() != health.down.is_some() {
                health.since = Timestamp::now();
            } else if old == health.down {
                return None;
            }
            Some(health.event())
        });
        self.up.notify_all();
    }

    /// The service is alive. The ticker proves it by updates, while there are symbols.
    pub fn prove(&self, service: Service) {
        let mut state = lock(&self.state);
        if service != Service::Ticker || state.watched.is_empty() {
            state.health(service).proved = Instant::now();
        }
    }

    /// How long ago each service last showed that it is alive.
    pub fn beat(&self) -> Event {
        let services = &lock(&self.state).services;
        event::beat(services.iter().map(|h| (h.service, h.proved.elapsed())))
    }

    /// Whether this service is reached; for one that does not exist nobody waits.
    pub fn check(&self, service: Service) -> Checked {
        match lock(&self.state).health(service).is_down() {
            true => Err("not reached".into()),
            false => Ok(()),
        }
    }

    /// Blocks until all existing services are reached, or the deadline.
    pub fn wait_until_up(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let down = |state: &mut State| state.services.iter().any(Health::is_down);
        drop(self.up.wait_timeout_while(lock(&self.state), left, down));
    }

    /// Ends all pages' streams, and opens no more.
    pub fn close(&self) {
        self.broadcast.close();
    }

    fn publish(&self, change: impl FnOnce(&mut State) -> Option<Event>) {
        let wakeups = {
            let mut state = lock(&self.state);
            let Some(event) = change(&mut state) else {
                return;
            };
            let bytes = event.text.len();
            self.broadcast.publish(Timestamp::now(), |_| (event, bytes))
        };
        drop(wakeups);
    }
}

impl State {
    fn health(&mut self, service: Service) -> &mut Health {
        &mut self.services[service as usize]
    }
}

impl Health {
    /// Whether it may be reached later.
    fn is_down(&self) -> bool {
        let error = self.down.as_ref();
        error.is_some_and(|error| error.code != Code::Unimplemented)
    }

    fn event(&self) -> Event {
        event::status(self.service, self.down.as_ref(), self.since)
    }
}

/// The symbols that a page shows; dropping it forgets them.
pub struct Watch {
    pub hub: Arc<Hub>,
    symbols: HashSet<Symbol>,
}

impl Watch {
    /// Returns the symbol's newest quote, if there is one already.
    fn add(&mut self, text: &str, state: &mut State) -> Result<Option<Event>, Error> {
        let symbol = Symbol::parse(text)?;
        if self.symbols.contains(&symbol) {
            return Ok(None);
        }
        let newest = state.watched.add(&symbol, Instant::now())?;
        if newest.is_none() {
            self.hub.ask(symbol.clone());
        }
        self.symbols.insert(symbol);
        Ok(newest)
    }

    /// Whether the event is for this page.
    pub fn wants(&self, event: &Event) -> bool {
        event
            .symbol
            .as_ref()
            .is_none_or(|symbol| self.symbols.contains(symbol))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = lock(&self.hub.state);
        for symbol in &self.symbols {
            state.watched.remove(symbol);
        }
    }
}
