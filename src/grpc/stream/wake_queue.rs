//! Wakes tasks on their completion queue's own thread, many at a time.
//!
//! A task that is woken from another thread costs an event on the completion queue,
//! for each message and reader. So a bell puts its task into the queue of its
//! thread, and one event wakes them all. While publishers are quick, that event
//! comes behind those that are there already, and what these publish goes along.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use futures_util::task::AtomicWaker;
use grpcio::{Channel, Client, Environment};

use crate::retry::supervised;
use crate::sync::{lock, spawn};

/// How many tasks are woken before the completion queue's other events have their
/// turn, unary calls among them.
const AT_ONCE: usize = 64;

/// A queue that is wanted again so soon after it was empty is busy.
const BUSY: Duration = Duration::from_micros(30);

thread_local! {
    static OWN: OnceCell<Weak<WakeQueue>> = const { OnceCell::new() };
}

/// One for each completion queue of a server.
#[derive(Clone)]
pub struct WakeQueues(Arc<[Arc<WakeQueue>]>);

pub struct WakeQueue {
    waiting: Mutex<Waiting>,
    /// Of the future that wakes them.
    runner: AtomicWaker,
    /// To a thread that wakes the runner: a task that is woken on its own thread runs
    /// before that thread's other events.
    later: Sender<Weak<WakeQueue>>,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Arc<AtomicWaker>>,
    /// The runner was woken and has not seen the queue empty since.
    woken: bool,
    empty_since: Option<Instant>,
}

impl WakeQueues {
    /// Starts the thread "stream-waker", which ends with the queues.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(environment: &Arc<Environment>) -> io::Result<Self> {
        let count = environment.completion_queues().len();
        // A queue waits in it once at most.
        let (later, queues) = bounded::<Weak<WakeQueue>>(count);
        let wake = move || {
            queues
                .iter()
                .filter_map(|queue| queue.upgrade())
                .for_each(|it| it.runner.wake());
        };
        spawn("stream-waker", move || supervised(&wake))?;
        let queues = (0..count).map(|_| {
            let queue = Arc::new(WakeQueue {
                waiting: Mutex::default(),
                runner: AtomicWaker::new(),
                later: later.clone(),
            });
            // A channel without a peer: its completion queue is all that is
            // wanted of it, and the environment gives each channel the next one.
            let client = Client::new(Channel::lame(environment.clone(), "wake queue"));
            client.spawn(Runner {
                queue: Arc::downgrade(&queue),
                spawned: false,
            });
            queue.runner.wake();
            queue
        });
        Ok(Self(queues.collect()))
    }

    /// That of the completion-queue thread that calls, or any.
    pub fn own(&self) -> Arc<WakeQueue> {
        let own = OWN.with(|own| own.get().and_then(Weak::upgrade));
        own.unwrap_or_else(|| self.0[0].clone())
    }
}

impl WakeQueue {
    /// Has the task woken soon. From any thread; never blocks.
    pub fn push(self: &Arc<Self>, task: &Arc<AtomicWaker>) {
        let mut waiting = lock(&self.waiting);
        waiting.tasks.push_back(task.clone());
        if waiting.woken {
            return;
        }
        waiting.woken = true;
        let busy = waiting
            .empty_since
            .is_some_and(|since| since.elapsed() < BUSY);
        drop(waiting);
        if busy {
            self.wake_later();
        } else {
            self.runner.wake();
        }
    }

    fn wake_later(self: &Arc<Self>) {
        // The thread is gone only when the whole process is going.
        let _ = self.later.try_send(Arc::downgrade(self));
    }

    fn run(self: &Arc<Self>) {
        let mut waiting = lock(&self.waiting);
        let count = waiting.tasks.len().min(AT_ONCE);
        let tasks: Vec<_> = waiting.tasks.drain(..count).collect();
        let more = !waiting.tasks.is_empty();
        if !more {
            waiting.woken = false;
            waiting.empty_since = Some(Instant::now());
        }
        drop(waiting);
        for task in tasks {
            task.wake();
        }
        if more {
            self.wake_later();
        }
    }
}

/// Runs whenever its queue's tasks are to be woken.
struct Runner {
    queue: Weak<WakeQueue>,
    /// It was polled before, by the thread that spawned it.
    spawned: bool,
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(queue) = self.queue.upgrade() else {
            return Poll::Ready(());
        };
        queue.runner.register(cx.waker());
        if std::mem::replace(&mut self.spawned, true) {
            let _ = OWN.with(|own| own.set(self.queue.clone()));
            queue.run();
        }
        Poll::Pending
    }
}
