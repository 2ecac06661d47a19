//! The queue of tasks: in RabbitMQ, or embedded in the data folder. The promises
//! are the same: what is confirmed survives a crash, and what was delivered and
//! not acknowledged is redelivered.
//!
//! One owner thread holds the connection ("amqp") or the file ("queue"); the rest
//! of the program sees channels. It must not know what a task asks for, nor
//! where results go.

mod embedded;
pub mod failpoint;
mod rabbitmq;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use futures_util::task::AtomicWaker;

use crate::db::StartError;
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::key;
use crate::sync::spawn;

pub use rabbitmq::{Broker, message};

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
            id: key::random(),
            body,
            queued_at: Timestamp::now(),
        }
    }
}

/// A task that was delivered and has to be acknowledged or dead-lettered.
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

/// Identifies a delivery on the connection that it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    epoch: u64,
    tag: u64,
}

/// A task in the dead-letter queue, with the last error and the number of attempts.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub id: Option<String>,
    pub body: Vec<u8>,
    pub reason: String,
    pub attempts: u32,
}

/// Depth of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Tasks that are ready, without those that a consumer has.
    pub waiting: u64,
    pub consumers: u64,
    /// Tasks in the dead-letter queue.
    pub dead: u64,
}

/// Dead letters that were looked at.
#[derive(Debug)]
pub struct Looked {
    pub count: usize,
    /// Those of them that are wanted.
    pub dead: Vec<DeadLetter>,
}

/// Which dead letters to look at.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether to begin with the oldest, or else behind those of the last look.
    pub oldest: bool,
    pub limit: usize,
    /// Those that are taken, until [`Queue::put_back`]; without it, all are only shown.
    pub take: Option<Which>,
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
    Consume(Subscription),
    Ack(Vec<Token>),
    DeadLetter(Token, Vec<DeadLetter>),
    Depth(Reply<Depth>),
    Waiting(usize, Reply<Vec<Outgoing>>),
    LookAtDead(Look, Reply<Looked>),
    PutBack(Instant, Reply<u64>),
}

/// Who gets deliveries.
struct Subscription {
    prefetch: u16,
    deliveries: Sender<Delivery>,
    /// The other end, to take back what was delivered before an outage.
    undelivered: Receiver<Delivery>,
}

/// Tasks whose publisher waits for the confirmation.
struct Publication {
    tasks: Vec<Outgoing>,
    deadline: Instant,
    reply: Reply<()>,
}

/// A queue. May be shared between threads; dropping it ends its owner within a second
/// or two, or within six if the broker does not answer for dead letters.
pub struct Queue {
    commands: Option<Sender<Command>>,
    waker: Arc<AtomicWaker>,
    epoch: Arc<AtomicU64>,
    owner: Option<JoinHandle<()>>,
}

/// The owner thread's side of a queue.
struct Owned {
    commands: Receiver<Command>,
    /// Woken for each command; for an owner that waits for futures.
    waker: Arc<AtomicWaker>,
    /// Counts connections. Deliveries of an earlier one are redelivered.
    epoch: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the owner thread. It connects and reconnects by itself, so a broker
    /// that cannot be reached is not an error here.
    ///
    /// # Errors
    /// A folder that cannot be written, or a thread that cannot be started.
    pub fn open(place: &Place) -> Result<Self, StartError> {
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

    /// Sends the tasks; when this returns, the queue has confirmed all of them.
    /// While the broker cannot be reached, it retries until `within` is over.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason, when some of them may have been sent or not.
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

    /// Starts to deliver; at most `prefetch` tasks are unacknowledged at a time.
    /// To be called once.
    pub fn consume(&self, prefetch: u16) -> Receiver<Delivery> {
        let (deliveries, receiver) = bounded(usize::from(prefetch.max(1)));
        self.tell(Command::Consume(Subscription {
            prefetch: prefetch.max(1),
            deliveries,
            undelivered: receiver.clone(),
        }));
        receiver
    }

    /// Acknowledges these deliveries. One of an earlier connection is ignored,
    /// since it will be redelivered.
    pub fn ack(&self, tokens: Vec<Token>) {
        self.tell(Command::Ack(tokens));
    }

    /// Writes these tasks of a delivery to the dead-letter queue, and then
    /// acknowledges the delivery.
    pub fn dead_letter(&self, token: Token, dead: Vec<DeadLetter>) {
        self.tell(Command::DeadLetter(token, dead));
    }

    /// Whether the delivery can still be acknowledged.
    pub fn is_current(&self, token: Token) -> bool {
        self.epoch.load(Ordering::Acquire) == token.epoch
    }

    /// # Errors
    /// UNAVAILABLE without a broker, with the reason.
    pub fn depth(&self, within: Duration) -> Result<Depth, Error> {
        self.ask(within, Command::Depth)
    }

    /// As [`Queue::depth`], but `None` if there is no answer in time, whatever the
    /// owner is busy with.
    pub fn depth_soon(&self, within: Duration) -> Option<Depth> {
        let (reply, answer) = bounded(1);
        self.commands
            .as_ref()?
            .try_send(Command::Depth(reply))
            .ok()?;
        self.waker.wake();
        answer.recv_timeout(within).ok()?.ok()
    }

    /// The newest tasks in the embedded queue; RabbitMQ cannot list any.
    ///
    /// # Errors
    /// What the database says.
    pub fn waiting(&self, limit: usize, within: Duration) -> Result<Vec<Outgoing>, Error> {
        self.ask(within, |reply| Command::Waiting(limit, reply))
    }

    /// Tasks in the dead-letter queue; the broker keeps all of them for this visitor until
    /// [`Queue::put_back`].
    ///
    /// # Errors
    /// UNAVAILABLE without a broker, with the reason.
    pub fn look_at_dead(&self, look: Look, within: Duration) -> Result<Looked, Error> {
        self.ask(within, |reply| Command::LookAtDead(look, reply))
    }

    /// Moves what was taken back to the queue; returns how many. If nothing was taken, the
    /// next look begins with the oldest again.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason, when some of them may have been moved or not.
    pub fn put_back(&self, within: Duration) -> Result<u64, Error> {
        let deadline = Instant::now() + within;
        self.ask(within, |reply| Command::PutBack(deadline, reply))
    }

    fn ask<T>(
        &self,
        within: Duration,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = bounded(1);
        self.tell(command(reply));
        let late = |error: RecvTimeoutError| {
            Error::unavailable(match error {
                RecvTimeoutError::Timeout => "the queue did not answer in time",
                RecvTimeoutError::Disconnected => "the connection to the queue was lost",
            })
        };
        answer.recv_timeout(within + GRACE).map_err(late)?
    }

    /// Blocks while the owner is busy with the broker, which is bounded.
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

impl Command {
    /// Answers a command that cannot be carried out now. An acknowledgement needs
    /// no answer, since its task will be redelivered.
    fn refuse(self, reason: &str) {
        let error = || Error::new(Code::Unavailable, reason);
        // The caller may have stopped waiting.
        match self {
            Self::Publish(publication) => drop(publication.reply.send(Err(error()))),
            Self::Depth(reply) => drop(reply.send(Err(error()))),
            Self::Waiting(_, reply) => drop(reply.send(Err(error()))),
            Self::LookAtDead(_, reply) => drop(reply.send(Err(error()))),
            Self::PutBack(_, reply) => drop(reply.send(Err(error()))),
            Self::Consume(_) | Self::Ack(_) | Self::DeadLetter(..) => {}
        }
    }
}
