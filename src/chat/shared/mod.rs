//! One order of messages over all servers on one PostgreSQL: the log of [`crate::db::log`],
//! and in each server a fan-out that follows it.
//!
//! | thread | what it does |
//! |---|---|
//! | "chat-owner" (`owner`) | appends what has queued up as one batch, publishes what others have appended and then its own, answers; lets subscribers in |
//! | "chat-reader" (`catch_up`) | reads old messages for subscribers that come back after long |
//! | "chat-bell" | hears of others' appends, and tells them of ours |
//! | "chat-keeper" | removes what is not retained |
//!
//! The table's order is everyone's: each owner publishes rows in the order of their numbers,
//! and answers a send once that is done. A subscriber is let in behind a look at the table,
//! so it gets nothing that was answered before, by whichever server.

mod catch_up;
mod owner;
mod stored;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use futures_channel::{mpsc, oneshot};
use futures_util::{FutureExt as _, TryFutureExt as _};

use super::order::{After, Answer, Joined, Later, Order, Sent};
use super::wire;
use crate::budget::{Budget, Hold};
use crate::db::address::Address;
use crate::db::log::{Draft, Epoch, Keeper, Log, PostgresLog, Retain, Table};
use crate::db::{self, BACKOFF, bell};
use crate::error::{Code, Error};
use crate::fanout::broadcast::{Bell, Broadcast, Capacity, Stored, Wakeups};
use crate::fanout::clock::Timestamp;
use crate::fanout::replay::Bound;
use crate::grpc::meter::count_fanout;
use crate::grpc::method::Encoded;
use crate::grpc::stream::Pair;
use crate::metrics;
use crate::readiness::Readiness;
use crate::retry::{Retry, supervised};
use crate::sync::{lock, spawn};

mod schema {
    refinery::embed_migrations!("src/chat/shared/migrations");
}

/// Where all messages are.
pub const TABLE: Table = Table {
    name: "chat_messages",
    counts: false,
};
const CHANNEL: &str = "messenger_chat";

/// Messages and subscribers that may wait for the owner.
const QUEUE: usize = 8192;

/// What a message takes in the queue besides its texts, about.
const OVERHEAD: usize = 256;

pub struct Config {
    pub address: Address,
    /// Where LISTEN works, if there is a pooler at the address that breaks it.
    pub listen: Address,
    /// Maximum wait for the database at the start.
    pub timeout: Duration,
    pub retain: Retain,
    /// Bytes of the messages that may wait for the owner.
    pub waiting: usize,
    pub backlog: Capacity,
    pub replay: Bound,
}

/// What all threads share.
struct Hub {
    messages: Broadcast<Encoded>,
    /// All of the database; the last one is now.
    epochs: Mutex<Vec<Epoch>>,
    /// The database cannot be reached.
    away: AtomicBool,
}

/// What the owner is asked for.
enum Command {
    Send(Waiting),
    Join(Join),
}

struct Waiting {
    draft: Draft,
    answer: Answer,
    hold: Hold,
}

struct Join {
    after: After,
    joined: oneshot::Sender<Result<Joined, Error>>,
}

/// The order that servers share.
pub struct Shared {
    hub: Arc<Hub>,
    /// `None` after the end.
    queue: Mutex<Option<Sender<Command>>>,
    waiting: Budget,
    keeper: Arc<Keeper>,
}

impl Shared {
    /// Brings the schema up to date, reads the newest messages, and starts the threads. A
    /// database that cannot be reached is waited for up to the timeout. `None` when `stop`
    /// came first.
    ///
    /// # Errors
    /// A database that refuses or cannot be reached, or threads that cannot be started.
    pub fn start(
        config: Config,
        ready: &Readiness,
        stop: &Receiver<()>,
    ) -> Result<Option<Arc<Self>>, Box<dyn std::error::Error>> {
        let Config { address, .. } = &config;
        let migrate = || address.migrate(schema::migrations::runner(), "messenger_chat_schema");
        if !db::migrate(config.timeout, stop, migrate)? {
            return Ok(None);
        }
        let messages = Broadcast::with_replay(config.backlog, config.replay);
        count_fanout(wire::SERVICE, &messages);
        let hub = Arc::new(Hub {
            messages,
            epochs: Mutex::default(),
            away: AtomicBool::new(false),
        });
        let ((queue, commands), (look, looks)) = (bounded(QUEUE), bounded(1));
        let (ring, rings) = mpsc::channel(1);
        let reader = catch_up::start(hub.clone(), address.clone())?;
        let mut owner = owner::Owner::new(&hub, &config, (commands, looks), reader, ring);
        owner.open()?;
        let owner = move || supervised(|| owner.run());
        spawn("chat-owner", owner)?;
        let listens = listen(config.listen.clone(), address.clone(), rings, look)?;
        select! {
            // Nobody would notice that messages of other servers come late.
            recv(listens) -> deaf => deaf.map_or(Ok(()), Err)?,
            recv(stop) -> _ => return Ok(None),
            default(config.timeout) => {}
        }
        let kept = config.address;
        let open = move || Ok(Box::new(PostgresLog::open(&kept, TABLE)?) as Box<dyn Log>);
        let keeper = Keeper::start("chat-keeper", Box::new(open), config.retain)?;
        let checked = hub.clone();
        ready.needs("database", move || {
            match checked.away.load(Ordering::Relaxed) {
                true => Err("the chat's database cannot be reached".into()),
                false => Ok(()),
            }
        });
        let waiting = Budget::new(config.waiting);
        metrics::memory("chat", &waiting);
        Ok(Some(Arc::new(Self {
            hub,
            queue: Mutex::new(Some(queue)),
            waiting,
            keeper,
        })))
    }

    /// Has the owner do it, or refuses it.
    fn put(&self, command: Command) {
        let put = match &*lock(&self.queue) {
            None => Err(TrySendError::Disconnected(command)),
            Some(queue) => queue.try_send(command),
        };
        match put {
            Ok(()) => {}
            Err(TrySendError::Full(command)) => command.refuse(busy()),
            Err(TrySendError::Disconnected(command)) => command.refuse(Error::shutting_down()),
        }
    }
}

impl Command {
    fn refuse(self, error: Error) {
        match self {
            Self::Send(waiting) => waiting.answer.send(Err(error)),
            Self::Join(join) => join.answer(Err(error)),
        }
    }
}

fn busy() -> Error {
    let reason = "too many messages and subscribers wait for the database";
    Error::new(Code::ResourceExhausted, reason)
}

/// Starts the thread "chat-bell", which ends with the owner: that rings, and looks. What is
/// returned is closed when it listens, or when it cannot for now; before that comes an
/// error if it never will.
fn listen(
    address: Address,
    database: Address,
    mut rings: mpsc::Receiver<()>,
    look: Sender<()>,
) -> std::io::Result<Receiver<db::Error>> {
    let retry = RefCell::new(Retry::new(BACKOFF.0, BACKOFF.1));
    let (starts, started) = bounded(1);
    let starts = Cell::new(Some(starts));
    let mut listen = move || {
        let heard = || {
            starts.take();
            if retry.borrow_mut().succeeded() {
                tracing::info!("the database's notifications are heard again");
            }
            // One that waits is enough.
            let _ = look.try_send(());
        };
        while let Err(error) = bell::listen(&address, &database, CHANNEL, &mut rings, heard) {
            let mut retry = retry.borrow_mut();
            match starts.take() {
                Some(starts) if matches!(error, db::Error::Deaf { .. }) => {
                    let _ = starts.send(error);
                }
                _ if retry.is_news(&error) => {
                    let meanwhile = "others' messages come up to 100 ms later until it works";
                    tracing::warn!(%error, "cannot listen to the database; {meanwhile}");
                }
                _ => {}
            }
            // Nothing tells when it is back.
            thread::sleep(retry.next_wait());
        }
    };
    spawn("chat-bell", move || supervised(&mut listen))?;
    Ok(started)
}

impl Hub {
    fn epoch(&self) -> Arc<str> {
        let epochs = lock(&self.epochs);
        epochs.last().map_or("", |epoch| &epoch.name).into()
    }

    /// The time of a cursor, if the order now has all that its reader was sent.
    fn time(&self, (name, time): &(String, Timestamp)) -> Option<Timestamp> {
        let epochs = lock(&self.epochs);
        let at = epochs.iter().position(|epoch| epoch.name == *name)?;
        let lost = |next: &Epoch| time.nanos() > next.after;
        (!epochs.get(at + 1).is_some_and(lost)).then_some(*time)
    }

    fn knows(&self, epoch: &[u8]) -> bool {
        let epochs = lock(&self.epochs);
        epochs.iter().any(|it| it.name.as_bytes() == epoch)
    }

    /// Lets a subscriber in. To be called behind a look that began after it came.
    fn join(
        &self,
        after: &After,
        stored: impl FnOnce(Timestamp, Bell) -> Option<Box<dyn Stored<Encoded>>>,
    ) -> Result<Joined, Error> {
        let time = after.as_ref().and_then(|after| self.time(after));
        let (pair, mut start) = self.messages.resume_with(time, stored)?;
        start.gap |= after.is_some() && time.is_none();
        Ok(Joined {
            pair,
            epoch: self.epoch(),
            start,
        })
    }
}

impl Join {
    fn answer(self, joined: Result<Joined, Error>) {
        // One that has left takes its subscription with it.
        drop(self.joined.send(joined));
    }
}

impl Order for Shared {
    fn epoch(&self) -> Arc<str> {
        self.hub.epoch()
    }

    /// Keys are in the table, whichever epoch it was.
    fn knows(&self, epoch: &[u8]) -> bool {
        self.hub.knows(epoch)
    }

    fn publish(&self, sent: Sent, answer: Answer) -> Option<Wakeups> {
        let bytes = sent.author.len() + sent.text.len() + OVERHEAD;
        match self.waiting.take(bytes) {
            Ok(hold) => self.put(Command::Send(Waiting {
                draft: stored::draft(sent),
                answer,
                hold,
            })),
            Err(_full) => answer.send(Err(busy())),
        }
        None
    }

    fn read(&self) -> Later<Pair> {
        self.subscribe(None).map_ok(|joined| joined.pair).boxed()
    }

    fn subscribe(&self, after: After) -> Later<Joined> {
        let (joined, later) = oneshot::channel();
        self.put(Command::Join(Join { after, joined }));
        let later = later.map(|joined| joined.unwrap_or_else(|_| Err(Error::shutting_down())));
        later.boxed()
    }

    /// What was accepted is still appended and answered, and streams from other servers.
    fn close(&self) {
        *lock(&self.queue) = None;
        self.hub.messages.close();
        self.keeper.close();
    }
}
