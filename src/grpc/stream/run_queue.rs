//! A run queue for each completion queue: streams that have something to forward
//! wait in it, and the completion queue's own thread goes through them.
//!
//! An operation that is started on the thread that will also see it complete
//! wakes nobody. Started elsewhere, each one wakes that thread, which costs
//! twice as much as the delivery itself.

use crate::sync::lock;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use grpcio::{Channel, Client, Environment};

/// How many streams one run forwards for before the completion queue's other
/// events have their turn, calls that want an answer among them.
const RUN_STREAMS: usize = 64;

/// A run queue that is wanted again so soon after its last run is busy: its next
/// run comes behind the events that are there already, and what they publish
/// goes along with it. At lower rates nothing is ever held back.
const BUSY: Duration = Duration::from_micros(30);

/// Something that can stand in a run queue.
pub trait Forward: Send + Sync {
    /// Forwards what there is; never blocks.
    fn forward(&self);
}

/// The run queues of a server.
#[derive(Clone)]
pub struct RunQueues(Arc<[Arc<RunQueue>]>);

pub struct RunQueue {
    state: Mutex<State>,
    /// To a thread that wakes: a task that is woken on its own thread runs
    /// before that thread's other events.
    later: Sender<Waker>,
}

#[derive(Default)]
struct State {
    /// Each stream once, or twice if it was rung for while it was run.
    ready: VecDeque<Arc<dyn Forward>>,
    /// It will run, or does: nobody needs to wake it.
    scheduled: bool,
    waker: Option<Waker>,
    /// When its last run ended.
    idle_since: Option<Instant>,
}

thread_local! {
    static OWN: OnceCell<Weak<RunQueue>> = const { OnceCell::new() };
}

impl RunQueues {
    /// One for each of the environment's completion queues, and the thread
    /// "run-queue-waker".
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(environment: &Arc<Environment>) -> io::Result<Self> {
        let (later, wakers) = unbounded::<Waker>();
        let waking = thread::Builder::new().name("run-queue-waker".into());
        waking.spawn(move || wakers.iter().for_each(Waker::wake))?;
        let queues = environment.completion_queues().iter().map(|_| {
            let queue = Arc::new(RunQueue {
                state: Mutex::default(),
                later: later.clone(),
            });
            // A channel without a peer: its completion queue is all that is
            // wanted of it, and the environment gives each channel the next one.
            let client = Client::new(Channel::lame(environment.clone(), "run queue"));
            client.spawn(Runs(Arc::downgrade(&queue)));
            queue
        });
        let queues = Self(queues.collect());
        for queue in queues.0.iter() {
            // Its first run tells the thread which one is its own.
            queue.schedule(queue.lock());
        }
        Ok(queues)
    }

    /// That of the completion-queue thread that calls, or any.
    pub fn own(&self) -> Option<Arc<RunQueue>> {
        let own = OWN.with(|own| own.get().and_then(Weak::upgrade));
        own.or_else(|| self.0.first().cloned())
    }
}

impl RunQueue {
    /// Has [`Forward::forward`] called soon, on the completion queue's thread.
    /// From any thread; never blocks.
    pub fn push(&self, stream: Arc<dyn Forward>) {
        let mut state = self.lock();
        state.ready.push_back(stream);
        self.schedule(state);
    }

    fn schedule(&self, mut state: MutexGuard<'_, State>) {
        if state.scheduled {
            return;
        }
        state.scheduled = true;
        let busy = state.idle_since.is_some_and(|end| end.elapsed() < BUSY);
        let waker = state.waker.clone();
        drop(state);
        match waker {
            Some(waker) if busy => self.wake_later(waker),
            Some(waker) => waker.wake(),
            // The first poll finds what is there.
            None => {}
        }
    }

    fn wake_later(&self, waker: Waker) {
        // The thread is gone only when the whole process is going.
        let _ = self.later.send(waker);
    }

    fn run(&self) {
        for _ in 0..RUN_STREAMS {
            let mut state = self.lock();
            let Some(stream) = state.ready.pop_front() else {
                state.scheduled = false;
                state.idle_since = Some(Instant::now());
                return;
            };
            drop(state);
            stream.forward();
        }
        if let Some(waker) = self.lock().waker.clone() {
            self.wake_later(waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The task that runs whenever its queue is woken.
struct Runs(Weak<RunQueue>);

impl Future for Runs {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(queue) = self.0.upgrade() else {
            return Poll::Ready(());
        };
        let first = queue.lock().waker.replace(cx.waker().clone()).is_none();
        // Only the first poll is on another thread: the one that spawns.
        if !first {
            OWN.with(|own| {
                let _ = own.set(self.0.clone());
            });
            queue.run();
        }
        Poll::Pending
    }
}
