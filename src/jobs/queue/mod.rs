//! The queue of tasks: in RabbitMQ, or embedded in the data folder. The promises
//! are the same: what is confirmed survives a crash, what was delivered and not
//! acknowledged comes again, and nothing is acknowledged that was not asked for.
//!
//! One owner thread holds the connection ("amqp") or the file ("queue"); the rest
//! of the program sees channels. Nothing here knows what a task asks for, nor
//! where results go.

mod embedded;
pub mod failpoint;
mod rabbitmq;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use futures_util::task::AtomicWaker;

use crate::db;
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;

pub use rabbitmq::Broker;

/// Where the queue is.
#[derive(Clone, Debug)]
pub enum Place {
    RabbitMq(Broker),
    /// `queue.sqlite3` in this folder.
    Embedded(PathBuf),
}

/// The name of the queue, which the Python programs share.
pub const NAME: &str = "task_queue";

/// Commands that may wait for the owner.
const COMMANDS: usize = 1024;

/// How much longer than its own deadline the answer to a command may take: the
/// owner may be in the middle of an exchange with the broker.
const GRACE: Duration = Duration::from_secs(11);

/// A task to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: String,
    pub body: Vec<u8>,
    pub queued_at: Timestamp,
}

impl Outgoing {
    /// A new task with an id of its own.
    pub fn new(body: Vec<u8>) -> Self {
        Self {
            id: new_id(),
            body,
            queued_at: Timestamp::now(),
        }
    }
}

/// 128 random bits.
pub fn new_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// A task that was delivered and has to be acknowledged or buried.
#[derive(Debug)]
pub struct Delivery {
    /// `None` if its producer set none.
    pub id: Option<String>,
    pub body: Vec<u8>,
    pub queued_at: Option<Timestamp>,
    /// It was delivered before, and that delivery was lost.
    pub redelivered: bool,
    pub token: Token,
}

/// Names a delivery; means nothing after the connection that it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    epoch: u64,
    tag: u64,
}

/// Why a task is dead.
#[derive(Clone, Debug)]
pub struct Obituary {
    pub reason: String,
    pub attempts: u32,
}

/// A task in the dead-letter queue.
#[derive(Clone, Debug)]
pub struct Dead {
    pub id: Option<String>,
    pub body: Vec<u8>,
    pub obituary: Obituary,
}

/// How much there is to do, and who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Tasks that wait; not those that a consumer has.
    pub waiting: u64,
    pub consumers: u64,
    /// Tasks in the dead-letter queue.
    pub dead: u64,
}

/// Which tasks in the dead-letter queue.
#[derive(Clone, Debug)]
pub enum Which {
    All,
    Ids(Vec<String>),
}

/// The answer to a command.
type Reply<T> = Sender<Result<T, Error>>;

/// What the owner is asked to do.
enum Command {
    Publish(Publication),
    Consume {
        prefetch: u16,
        deliveries: Sender<Delivery>,
        /// The other end, to take back what was delivered before an outage.
        undelivered: Receiver<Delivery>,
    },
    Ack(Vec<Token>),
    Bury(Token, Vec<Dead>),
    Depth(Reply<Depth>),
    Waiting(usize, Reply<Vec<Outgoing>>),
    ListDead(usize, Reply<Vec<Dead>>),
    Requeue(Which, Reply<u64>),
}

/// Tasks that somebody waits for to be confirmed.
struct Publication {
    tasks: Vec<Outgoing>,
    deadline: Instant,
    reply: Reply<()>,
}

/// Why a queue cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] db::Error),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A queue. May be shared between threads; dropping it ends its owner within a
/// second or two.
pub struct Queue {
    commands: Option<Sender<Command>>,
    waker: Arc<AtomicWaker>,
    epoch: Arc<AtomicU64>,
    owner: Option<JoinHandle<()>>,
}

/// What the owner sees of a queue.
struct Owned {
    commands: Receiver<Command>,
    /// Woken for each command; for an owner that waits for futures.
    waker: Arc<AtomicWaker>,
    /// Counts connections. A delivery of an earlier one comes again.
    epoch: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the owner. It connects by itself, again and again, so that a broker
    /// that is not there is no error here.
    ///
    /// # Errors
    /// A folder that cannot be written, or no thread to be had.
    pub fn open(place: &Place) -> Result<Self, OpenError> {
        let (sender, commands) = bounded(COMMANDS);
        let waker = Arc::new(AtomicWaker::new());
        let epoch = Arc::new(AtomicU64::new(0));
        let owned = Owned {
            commands,
            waker: waker.clone(),
            epoch: epoch.clone(),
        };
        let owner = match place {
            Place::RabbitMq(broker) => {
                let owner = rabbitmq::Owner::new(broker.clone(), owned);
                spawn("amqp", move || owner.run())?
            }
            Place::Embedded(folder) => {
                let owner = embedded::Owner::open(folder, owned)?;
                spawn("queue", move || owner.run())?
            }
        };
        Ok(Self {
            commands: Some(sender),
            waker,
            epoch,
            owner: Some(owner),
        })
    }

    /// Sends the tasks; when this returns, the queue has all of them for good.
    /// While there is no broker, it is tried again until `within` is over.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason: then some of them may have been sent or not.
    pub fn publish(&self, tasks: Vec<Outgoing>, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        self.ask(within, |reply| {
            Command::Publish(Publication {
                tasks,
                deadline,
                reply,
            })
        })
    }

    /// Starts to deliver; at most `prefetch` tasks are delivered and not settled
    /// at a time. To be called once.
    pub fn consume(&self, prefetch: u16) -> Receiver<Delivery> {
        let (deliveries, receiver) = bounded(usize::from(prefetch.max(1)));
        self.tell(Command::Consume {
            prefetch: prefetch.max(1),
            deliveries,
            undelivered: receiver.clone(),
        });
        receiver
    }

    /// The queue may forget these tasks. One of an earlier connection is ignored,
    /// since it comes again.
    pub fn ack(&self, tokens: Vec<Token>) {
        self.tell(Command::Ack(tokens));
    }

    /// Writes to the dead-letter queue what of a delivery is dead, and then
    /// acknowledges the delivery.
    pub fn bury(&self, token: Token, dead: Vec<Dead>) {
        self.tell(Command::Bury(token, dead));
    }

    /// Whether the delivery can still be settled.
    pub fn is_current(&self, token: Token) -> bool {
        self.epoch.load(Ordering::Acquire) == token.epoch
    }

    /// # Errors
    /// UNAVAILABLE without a broker, with the reason.
    pub fn depth(&self, within: Duration) -> Result<Depth, Error> {
        self.ask(within, Command::Depth)
    }

    /// The newest tasks that the queue itself can tell of; none from RabbitMQ.
    ///
    /// # Errors
    /// What the database says.
    pub fn waiting(&self, limit: usize, within: Duration) -> Result<Vec<Outgoing>, Error> {
        self.ask(within, |reply| Command::Waiting(limit, reply))
    }

    /// The oldest tasks in the dead-letter queue.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker, with the reason.
    pub fn list_dead(&self, limit: usize, within: Duration) -> Result<Vec<Dead>, Error> {
        self.ask(within, |reply| Command::ListDead(limit, reply))
    }

    /// Moves tasks from the dead-letter queue back; returns how many.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker, with the reason.
    pub fn requeue(&self, which: Which, within: Duration) -> Result<u64, Error> {
        self.ask(within, |reply| Command::Requeue(which, reply))
    }

    fn ask<T>(
        &self,
        within: Duration,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = bounded(1);
        self.tell(command(reply));
        let late = |_| Error::unavailable("the queue did not answer in time");
        answer.recv_timeout(within + GRACE).map_err(late)?
    }

    /// Waits for room only while the owner is in an exchange, which is bounded.
    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The owner lives as long as the sender does.
            let _ = commands.send(command);
            self.waker.wake();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
        if let Some(owner) = self.owner.take() {
            let _ = owner.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(run)
}

impl Command {
    /// Answers a command that cannot be carried out now; an acknowledgement
    /// needs no answer, since its task comes again.
    fn refuse(self, reason: &str) {
        let error = || Error::new(Code::Unavailable, reason);
        // Who no longer waits needs no answer.
        match self {
            Self::Publish(publication) => drop(publication.reply.send(Err(error()))),
            Self::Depth(reply) => drop(reply.send(Err(error()))),
            Self::Waiting(_, reply) => drop(reply.send(Err(error()))),
            Self::ListDead(_, reply) => drop(reply.send(Err(error()))),
            Self::Requeue(_, reply) => drop(reply.send(Err(error()))),
            Self::Consume { .. } | Self::Ack(_) | Self::Bury(..) => {}
        }
    }
}
