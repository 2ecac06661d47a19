//! Server streams: one named OS thread each, which blocks on its subscription,
//! gathers what has queued up, and hands the whole batch over at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use grpcio::{RpcContext, ServerStreamingSink};

use super::writer::{Batch, Handover, Writer};
use crate::domain::broadcast::{End, Membership, Subscription, Wakeups};
use crate::domain::error::{Code, Error};
use crate::wire::method::Encoded;
use crate::wire::status;

/// A stream's thread does little, and there may be ten thousand of them.
const STACK_BYTES: usize = 64 * 1024;

/// How many messages a thread hands over at once, at most.
const BATCH_MESSAGES: usize = 1024;

/// A stream is busy when batches follow each other faster than this...
const BUSY: Duration = Duration::from_millis(1);

/// ...and then its thread gathers for so long before it takes the next one. At
/// lower rates nothing is ever held back.
const GATHER: Duration = Duration::from_millis(1);

/// How many readers are woken by the thread that published.
const WAKE_AT_ONCE: usize = 4;

/// How long a status may wait for a peer that does not read.
const STATUS_WAIT: Duration = Duration::from_secs(10);

type Pair = (Subscription<Encoded>, Membership<Encoded>);

/// All server streams of a process: counts them, and bounds their number.
#[derive(Clone)]
pub struct Streams {
    live: Arc<Live>,
    ended: Sender<Ended>,
    wakeups: Sender<Wakeups>,
}

#[derive(Default)]
struct Live {
    limit: usize,
    count: Mutex<usize>,
    changed: Condvar,
    number: AtomicU64,
}

/// A stream whose status is on its way since then.
type Ended = (Instant, Weak<Handover>);

/// A place among the live streams, held until the call is over.
struct Permit(Arc<Live>);

impl Streams {
    /// Starts the threads "stream-reaper" and "stream-waker", which end with the
    /// last clone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(limit: usize) -> std::io::Result<Self> {
        let (ended, reaper) = unbounded();
        let (wakeups, waker) = unbounded();
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into());
            thread.stack_size(STACK_BYTES).spawn(run).map(drop)
        };
        start("stream-reaper", Box::new(move || reap(&reaper)))?;
        start(
            "stream-waker",
            Box::new(move || waker.iter().for_each(drop)),
        )?;
        let live = Arc::new(Live {
            limit,
            ..Live::default()
        });
        Ok(Self {
            live,
            ended,
            wakeups,
        })
    }

    /// Serves one server stream: registers the subscription before it returns,
    /// and does the rest on a thread of its own. `first` is sent before all
    /// else. Called on a completion-queue thread; never blocks.
    pub fn serve(
        &self,
        ctx: &RpcContext<'_>,
        sink: ServerStreamingSink<Encoded>,
        name: &str,
        first: Option<Encoded>,
        subscribe: impl FnOnce() -> Result<Pair, Error>,
    ) {
        let pair = self.permit().and_then(|permit| Ok((permit, subscribe()?)));
        let (permit, (subscription, membership)) = match pair {
            Ok(pair) => pair,
            Err(error) => return refuse(ctx, sink, &error),
        };
        let handover = Arc::new(Handover::default());
        let stream = Stream {
            subscription,
            handover: handover.clone(),
            ended: self.ended.clone(),
        };
        let number = self.live.number.fetch_add(1, Ordering::Relaxed) + 1;
        let started = thread::Builder::new()
            .name(format!("{name}-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || stream.run());
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread for a stream");
            let error = Error::new(Code::ResourceExhausted, "no thread left for a stream");
            return refuse(ctx, sink, &error);
        }
        ctx.spawn(Writer::new(handover, membership, sink, first, permit));
    }

    /// Wakes the readers of a message; never blocks for long.
    ///
    /// A few are woken at once. Many are left to one thread that goes through
    /// them: what is published before it comes to a reader costs no wake-up of
    /// its own, so the busier the machine, the more goes into one batch. No
    /// reader stands in its queue twice, which bounds it.
    pub fn wake(&self, wakeups: Wakeups) {
        if wakeups.len() > WAKE_AT_ONCE {
            let _ = self.wakeups.send(wakeups);
        }
    }

    /// Waits until all streams are over, at most so long. Returns how many are
    /// left.
    pub fn wait_until_over(&self, timeout: Duration) -> usize {
        let count = self.live.lock();
        let waited = self
            .live
            .changed
            .wait_timeout_while(count, timeout, |count| *count > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn permit(&self) -> Result<Permit, Error> {
        let mut count = self.live.lock();
        if *count >= self.live.limit {
            return Err(Error::new(
                Code::ResourceExhausted,
                format!("streams: {} are open, which is the limit", self.live.limit),
            ));
        }
        *count += 1;
        Ok(Permit(self.live.clone()))
    }
}

impl Live {
    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.changed.notify_all();
    }
}

fn refuse(ctx: &RpcContext<'_>, sink: ServerStreamingSink<Encoded>, error: &Error) {
    let failed = sink.fail(status::to_grpc(error));
    ctx.spawn(async move { drop(failed.await) });
}

/// What a stream's thread owns.
struct Stream {
    subscription: Subscription<Encoded>,
    handover: Arc<Handover>,
    ended: Sender<Ended>,
}

impl Stream {
    fn run(mut self) {
        let end = self.forward();
        if end == End::SlowConsumer {
            tracing::warn!("a reader was too slow and is cut; its backlog was full");
        }
        if end != End::Left {
            self.handover.finish(end);
            let ended = (Instant::now(), Arc::downgrade(&self.handover));
            // The reaper is gone only when the whole process is going.
            let _ = self.ended.send(ended);
        }
    }

    /// Forwards batch after batch, and returns why there are no more.
    fn forward(&mut self) -> End {
        let mut batch = Batch::new();
        let mut received = Instant::now();
        loop {
            if let Err(end) = self.subscription.recv_batch(&mut batch, BATCH_MESSAGES) {
                return end;
            }
            let busy = received.elapsed() < BUSY;
            received = Instant::now();
            // After a close, the rest of the backlog still goes out; the
            // shutdown has its own bound.
            let cut = || self.subscription.end().filter(|end| *end != End::Closed);
            match self.handover.offer(batch, cut) {
                Ok(spare) => batch = spare,
                Err(end) => return end,
            }
            if busy {
                // A thread that sleeps need not be woken for each message, and
                // the next batch is worth more.
                thread::sleep(GATHER);
            }
        }
    }
}

/// Cancels calls whose status nobody has read for [`STATUS_WAIT`]. All wait
/// equally long, so the channel is in order of deadlines.
fn reap(ended: &Receiver<Ended>) {
    while let Ok((since, handover)) = ended.recv() {
        let left = (since + STATUS_WAIT).saturating_duration_since(Instant::now());
        if handover.strong_count() > 0 && !left.is_zero() {
            // All that wait behind this one have later deadlines.
            thread::sleep(left);
        }
        if let Some(handover) = handover.upgrade() {
            handover.cancel();
        }
    }
}
