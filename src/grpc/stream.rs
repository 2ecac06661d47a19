//! Server streams: one named OS thread each, which blocks on its subscription,
//! gathers what has queued up, and hands the whole batch over at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use grpcio::{RpcContext, ServerStreamingSink};

use super::writer::{Batch, Handover, Writer};
use crate::domain::broadcast::{End, Membership, Subscription};
use crate::domain::error::{Code, Error};
use crate::wire::method::Encoded;
use crate::wire::status;

/// A stream's thread does little, and there may be ten thousand of them.
const STACK_BYTES: usize = 64 * 1024;

/// How many messages a thread hands over at once, at most.
const BATCH_MESSAGES: usize = 1024;

/// A stream is busy when batches follow each other faster than this...
const BUSY: Duration = Duration::from_micros(1500);

/// ...and then its thread gathers for so long before it takes the next one. At
/// lower rates nothing is ever held back.
const GATHER: Duration = Duration::from_millis(2);

/// How long a status may wait for a peer that does not read.
const STATUS_WAIT: Duration = Duration::from_secs(10);

type Pair = (Subscription<Encoded>, Membership<Encoded>);

/// All server streams of a process: counts them, and bounds their number.
#[derive(Clone)]
pub struct Streams {
    live: Arc<Live>,
    ended: Sender<Ended>,
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
    /// Starts the thread "stream-reaper", which ends with the last clone.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn new(limit: usize) -> std::io::Result<Self> {
        let (ended, reaper) = unbounded();
        thread::Builder::new()
            .name("stream-reaper".into())
            .stack_size(STACK_BYTES)
            .spawn(move || reap(&reaper))?;
        let live = Arc::new(Live {
            limit,
            ..Live::default()
        });
        Ok(Self { live, ended })
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
            begun: first.is_some(),
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
        let guard = (membership, permit);
        ctx.spawn(Writer::new(handover, sink, first, guard));
    }

    /// How many streams are open.
    pub fn open(&self) -> usize {
        *self.live.lock()
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
    /// Whether the writer has something to write already.
    begun: bool,
    ended: Sender<Ended>,
}

impl Stream {
    fn run(mut self) {
        let end = self.forward();
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
        if self.begun {
            match self.written() {
                Ok(empty) => batch = empty,
                Err(end) => return end,
            }
        }
        let mut received = Instant::now();
        loop {
            if let Err(end) = self.subscription.recv_batch(&mut batch, BATCH_MESSAGES) {
                return end;
            }
            let busy = received.elapsed() < BUSY;
            received = Instant::now();
            self.handover.offer(batch);
            match self.written() {
                Ok(empty) => batch = empty,
                Err(end) => return end,
            }
            if busy {
                // A thread that sleeps need not be woken for each message, and
                // the next batch is worth more.
                thread::sleep(GATHER);
            }
        }
    }

    fn written(&self) -> Result<Batch, End> {
        // After a close, the rest of the backlog still goes out; the shutdown
        // has its own bound.
        let cut = || self.subscription.end().filter(|end| *end != End::Closed);
        self.handover.wait(cut)
    }
}

/// Cancels calls whose status nobody has read for [`STATUS_WAIT`]. All wait
/// equally long, so the channel is in order of deadlines.
fn reap(ended: &Receiver<Ended>) {
    while let Ok((since, handover)) = ended.recv() {
        let left = (since + STATUS_WAIT).saturating_duration_since(Instant::now());
        if handover.strong_count() > 0 && !left.is_zero() {
            thread::sleep(left);
        }
        if let Some(handover) = handover.upgrade() {
            handover.cancel();
        }
    }
}
