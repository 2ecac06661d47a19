//! One lane for each completion queue: streams that have something to forward
//! stand in it, and the queue's own thread goes through them.
//!
//! An operation that is started on the thread that will also see it complete
//! wakes nobody. Started elsewhere, each one wakes that thread, which costs
//! twice as much as the delivery itself.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use grpcio::{Channel, Client, Environment};

/// How many streams a lane forwards for before the queue's other events have
/// their turn, calls that want an answer among them.
const TURN: usize = 64;

/// A lane that is wanted again so soon after its turn is busy: its next turn
/// comes behind the events that its queue has already, and what they publish
/// goes along with it. At lower rates nothing is ever held back.
const QUICK: Duration = Duration::from_micros(30);

/// Something that stands in a lane.
pub trait Forward: Send + Sync {
    /// Forwards what there is, on the lane's thread; never blocks.
    fn forward(&self);
}

/// The lanes of a server.
#[derive(Clone)]
pub struct Lanes(Arc<[Arc<Lane>]>);

pub struct Lane {
    state: Mutex<State>,
    /// To a thread that wakes lanes: one that is woken on its own thread runs
    /// before the queue's other events.
    later: Sender<Waker>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<dyn Forward>>,
    /// It will run, or does: nobody needs to wake it.
    scheduled: bool,
    waker: Option<Waker>,
    /// When its last turn ended.
    last_turn: Option<Instant>,
}

thread_local! {
    static LANE: OnceCell<Weak<Lane>> = const { OnceCell::new() };
}

impl Lanes {
    /// A lane for each of the environment's queues, and the thread "lane-waker".
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(environment: &Arc<Environment>) -> io::Result<Self> {
        let (later, wakers) = unbounded::<Waker>();
        let waking = thread::Builder::new().name("lane-waker".into());
        waking.spawn(move || wakers.iter().for_each(Waker::wake))?;
        let lanes = environment.completion_queues().iter().map(|_| {
            let lane = Arc::new(Lane {
                state: Mutex::default(),
                later: later.clone(),
            });
            // A channel without a peer: its queue is all that is wanted of it.
            // The environment gives each channel the next queue.
            let client = Client::new(Channel::lame(environment.clone(), "lane"));
            client.spawn(Turns(Arc::downgrade(&lane)));
            lane
        });
        let lanes = Self(lanes.collect());
        for lane in lanes.0.iter() {
            // The first turn on the queue's thread tells it its lane.
            lane.schedule(lane.lock());
        }
        Ok(lanes)
    }

    /// The lane of the completion-queue thread that calls, or any.
    pub fn here(&self) -> Option<Arc<Lane>> {
        let own = LANE.with(|lane| lane.get().and_then(Weak::upgrade));
        own.or_else(|| self.0.first().cloned())
    }
}

impl Lane {
    /// Has its thread call [`Forward::forward`] soon. From any thread; never
    /// blocks.
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
        let quick = state.last_turn.is_some_and(|end| end.elapsed() < QUICK);
        let waker = state.waker.clone();
        drop(state);
        match waker {
            // The thread is gone only when the whole process is going.
            Some(waker) if quick => drop(self.later.send(waker)),
            Some(waker) => waker.wake(),
            None => {}
        }
    }

    fn take_turn(&self) {
        for _ in 0..TURN {
            let mut state = self.lock();
            let Some(stream) = state.ready.pop_front() else {
                state.scheduled = false;
                state.last_turn = Some(Instant::now());
                return;
            };
            drop(state);
            stream.forward();
        }
        if let Some(waker) = self.lock().waker.clone() {
            // The thread is gone only when the whole process is going.
            let _ = self.later.send(waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs on the queue's thread whenever its lane is woken.
struct Turns(Weak<Lane>);

impl Future for Turns {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(lane) = self.0.upgrade() else {
            return Poll::Ready(());
        };
        let first = lane.lock().waker.replace(cx.waker().clone()).is_none();
        // The first poll is on the thread that spawns.
        if !first {
            LANE.with(|own| {
                let _ = own.set(self.0.clone());
            });
            lane.take_turn();
        }
        Poll::Pending
    }
}
