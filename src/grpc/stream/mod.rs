//! Server streams: one named OS thread each, which blocks on its subscription.
//!
//! While the peer keeps up, the completion queue's own thread forwards what has
//! queued up (`run_queue`), and the stream's thread sleeps. When the peer lags,
//! the stream's thread takes over and blocks until the peer has read something:
//! this backpressure lets the backlog grow, up to its limit. Either way whole
//! batches are handed over to the C core (`writer`).

mod call;
mod run_queue;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use grpcio::Environment;

use super::STACK_BYTES;
use super::handler::{Caller, StreamSink};
use super::journal::{Journal, StreamLog};
use super::method::Encoded;
use super::subscription;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{End, Membership, Subscription, Waiter};
use crate::status;
use crate::sync::{lock, unpoisoned};
use run_queue::{Forward, RunQueue, RunQueues};
use writer::{Batch, Handover, Writer};

/// How many messages are handed over at once, at most.
const BATCH_MESSAGES: usize = 1024;

/// How many batches one ring of the bell forwards before the stream's thread
/// takes over: no reader keeps the others waiting.
const RING_BATCHES: usize = 4;

/// How long the final status may wait for a peer that does not read.
pub(super) const STATUS_WAIT: Duration = Duration::from_secs(10);

/// A subscription, as [`Streams::serve`] takes it.
pub type Pair = (Subscription<Encoded>, Membership<Encoded>);

/// All server streams of a process: counts them, and bounds their number.
#[derive(Clone)]
pub struct Streams {
    live: Arc<Live>,
    ended: Sender<Ended>,
    queues: RunQueues,
    journal: Arc<Journal>,
}

#[derive(Default)]
struct Live {
    limit: usize,
    count: Mutex<usize>,
    changed: Condvar,
    number: AtomicU64,
}

/// A stream whose final status was handed over at this time.
type Ended = (Instant, Weak<Handover>);

/// A place among the live streams, held until the call is over.
pub(super) struct Permit(Arc<Live>);

impl Streams {
    /// Starts the threads "stream-reaper" and "stream-log", which end with the
    /// last clone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(limit: usize, environment: &Arc<Environment>) -> std::io::Result<Self> {
        let (ended, reaper) = unbounded();
        let thread = thread::Builder::new().name("stream-reaper".into());
        thread
            .stack_size(STACK_BYTES)
            .spawn(move || reap(&reaper))?;
        let live = Arc::new(Live {
            limit,
            ..Live::default()
        });
        let queues = RunQueues::start(environment)?;
        Ok(Self {
            live,
            ended,
            queues,
            journal: Journal::start()?,
        })
    }

    /// Serves one server stream: registers the subscription before it returns,
    /// and does the rest on a thread of its own. `first` is sent before all
    /// else. Called on a completion-queue thread; never blocks.
    pub fn serve(
        &self,
        caller: &Caller,
        sink: StreamSink,
        name: &str,
        first: Option<Encoded>,
        subscribe: impl FnOnce() -> Result<Pair, Error>,
    ) {
        let name = self.thread_name(name);
        let stream_log = self.stream_log(caller.method.as_bytes(), &caller.peer, &name);
        let pair = self.permit().and_then(|permit| Ok((permit, subscribe()?)));
        let (permit, (subscription, membership)) = match pair {
            Ok(pair) => pair,
            Err(error) => return refuse(caller, sink, &error, stream_log.as_deref()),
        };
        let handover = Arc::new(Handover::new(membership, sink, first, stream_log.clone()));
        let stream = Arc::new(Stream {
            waiter: subscription.waiter(),
            forwarder: Mutex::new(Forwarder {
                subscription,
                batch: Batch::new(),
            }),
            handover: handover.clone(),
        });
        if let Some(queue) = self.queues.own() {
            stream.hang_bell(queue);
        }
        let ended = self.ended.clone();
        let started = thread::Builder::new()
            .name(name)
            .stack_size(STACK_BYTES)
            .spawn(move || stream.run(&ended));
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread for a stream");
            if let Some(sink) = handover.take_back() {
                let error = Error::new(Code::ResourceExhausted, "no thread left for a stream");
                refuse(caller, sink, &error, stream_log.as_deref());
            }
            return;
        }
        if let Some(stream_log) = stream_log {
            stream_log.opened();
        }
        caller.spawn(Writer::new(handover, permit));
    }

    /// Log entry for a stream; `None` if streams are not logged.
    pub(super) fn stream_log(
        &self,
        method: &[u8],
        peer: &str,
        stream: &str,
    ) -> Option<Arc<StreamLog>> {
        self.journal.stream_log(method, peer, stream)
    }

    /// Waits until all streams are over, at most so long. Returns how many are
    /// left; the log has all ends then.
    pub fn wait_until_over(&self, timeout: Duration) -> usize {
        let count = self.live.lock();
        let waited = self
            .live
            .changed
            .wait_timeout_while(count, timeout, |count| *count > 0);
        let left = *unpoisoned(waited).0;
        self.journal.log_withheld();
        left
    }

    /// "name-7": streams are numbered over all names.
    pub(super) fn thread_name(&self, name: &str) -> String {
        let number = self.live.number.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{name}-{number}")
    }

    pub(super) fn permit(&self) -> Result<Permit, Error> {
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
    fn lock(&self) -> MutexGuard<'_, usize> {
        lock(&self.count)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.changed.notify_all();
    }
}

/// What a stream sends first when its client asks for it; see
/// [`subscription::PROBE`].
pub fn acknowledgement(caller: &Caller) -> Option<Encoded> {
    caller
        .wants_acknowledgement()
        .then(subscription::acknowledgement)
}

fn refuse(caller: &Caller, sink: StreamSink, error: &Error, stream_log: Option<&StreamLog>) {
    if let Some(stream_log) = stream_log {
        stream_log.refused(error);
    }
    let failed = sink.fail(status::to_grpc(error));
    caller.spawn(async move { drop(failed.await) });
}

/// One server stream, shared by its thread and the run queue.
struct Stream {
    forwarder: Mutex<Forwarder>,
    handover: Arc<Handover>,
    waiter: Waiter,
}

struct Forwarder {
    subscription: Subscription<Encoded>,
    /// Taken from the subscription and not handed over yet.
    batch: Batch,
}

/// How a forwarder stops that has not come to the end.
#[derive(PartialEq, Eq)]
enum Stop {
    /// Nothing is left; the bell rings for the next message.
    Drained,
    /// The peer lags: the stream's thread has to block for it.
    Blocked,
}

impl Stream {
    fn run(&self, ended: &Sender<Ended>) {
        let end = loop {
            let stop = self.lock().forward(&self.handover, usize::MAX, true);
            match stop {
                Ok(_) => self.waiter.wait(),
                Err(end) => break end,
            }
        };
        if end != End::Left {
            self.handover.finish(end);
            // The reaper is gone only when the whole process is going.
            let _ = ended.send((Instant::now(), Arc::downgrade(&self.handover)));
        }
    }

    /// Switching to the stream's thread costs more than all the rest of a
    /// delivery, so a new message does not wake it but queues the stream to be
    /// forwarded.
    fn hang_bell(self: &Arc<Self>, queue: Arc<RunQueue>) {
        let stream = Arc::downgrade(self);
        let bell = move || {
            if let Some(stream) = stream.upgrade() {
                queue.push(stream);
            }
        };
        self.lock().subscription.ring(Box::new(bell));
    }

    fn lock(&self) -> MutexGuard<'_, Forwarder> {
        lock(&self.forwarder)
    }
}

impl Forward for Stream {
    /// Wakes the stream's thread when it has to block for the peer, or to end the
    /// stream.
    fn forward(&self) {
        let stop = match self.forwarder.try_lock() {
            Ok(mut forwarder) => forwarder.forward(&self.handover, RING_BATCHES, false),
            // The thread is forwarding, and may not check again.
            Err(_) => Ok(Stop::Blocked),
        };
        if stop != Ok(Stop::Drained) {
            self.waiter.wake();
        }
    }
}

impl Forwarder {
    /// Forwards at most so many batches, and blocks for the peer only if it may.
    fn forward(
        &mut self,
        handover: &Handover,
        batches: usize,
        may_block: bool,
    ) -> Result<Stop, End> {
        for _ in 0..batches {
            if self.batch.is_empty() {
                self.subscription
                    .try_batch(&mut self.batch, BATCH_MESSAGES)?;
                if self.batch.is_empty() {
                    return Ok(Stop::Drained);
                }
            }
            let batch = std::mem::take(&mut self.batch);
            if may_block {
                // After a close, the rest of the backlog still goes out; the
                // shutdown has its own bound.
                let cut = || self.subscription.end().filter(|end| *end != End::Closed);
                self.batch = handover.offer(batch, cut)?;
            } else {
                match handover.try_offer(batch, BATCH_MESSAGES) {
                    Ok(spare) => self.batch = spare,
                    Err(batch) => {
                        self.batch = batch;
                        return Ok(Stop::Blocked);
                    }
                }
            }
        }
        Ok(Stop::Blocked)
    }
}

/// Cancels calls whose peer has not read the status for [`STATUS_WAIT`]. All wait
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
