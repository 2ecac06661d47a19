//! The hand-over from a stream's thread to the C core, in whole batches.
//!
//! A run queue writes what it brings as far as the C core takes it at once, and
//! goes on. The rest, and what a stream's thread brings, is written by the
//! [`Writer`], the call's future: it runs on the completion-queue thread that
//! owns the call, where an operation that completes wakes nobody else. With one
//! hand-over per message instead, half of the time goes into switching threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::call::Call;
use crate::fanout::broadcast::{End, Envelope, Membership};
use crate::grpc::handler::StreamSink;
use crate::grpc::journal::StreamLog;
use crate::grpc::method::Encoded;
use crate::sync::{lock, unpoisoned};

pub type Batch = Vec<Envelope<Encoded>>;

/// How often a thread that waits for a peer checks whether it was cut.
const CUT_CHECK: Duration = Duration::from_millis(100);

/// What a stream's thread and its [`Writer`] share.
pub struct Handover {
    slot: Mutex<Slot>,
    taken: Condvar,
    /// Locked only by the thread that has set [`Slot::driven`], so never contended.
    call: Mutex<Call>,
}

#[derive(Default)]
struct Slot {
    /// What to write next, and what to do then.
    batch: Batch,
    command: Option<Command>,
    /// A thread drives the call; another one that comes meanwhile sets `again`.
    driven: bool,
    again: bool,
    /// Of the writer, from its first poll on.
    waker: Option<Waker>,
    /// For the thread: an empty vector, and whether to go on.
    spare: Batch,
    thread_waits: bool,
    writer_gone: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Command {
    /// Write no more messages, send the status. After [`End::Closed`], what was
    /// handed over before is still written.
    Finish(End),
    /// Drop the call, whatever state it is in.
    Cancel,
}

impl Handover {
    /// `first` is written before any batch.
    pub fn new(
        membership: Membership<Encoded>,
        sink: StreamSink,
        first: Option<Encoded>,
        stream_log: Option<Arc<StreamLog>>,
    ) -> Self {
        Self {
            slot: Mutex::default(),
            taken: Condvar::new(),
            call: Mutex::new(Call::new(membership, sink, first, stream_log)),
        }
    }

    /// Takes the call back when it cannot be served after all.
    pub fn take_back(&self) -> Option<StreamSink> {
        let mut call = lock(&self.call);
        call.take_sink()
    }

    /// Hands a batch over, and returns an empty vector for the next one. While
    /// one batch is written one other may wait here; for a third this blocks.
    /// This backpressure is what lets the backlog of a slow reader grow.
    ///
    /// # Errors
    /// Why the batch cannot be handed over: the writer has gone, or `cut` returned
    /// an end.
    pub fn offer(&self, batch: Batch, cut: impl Fn() -> Option<End>) -> Result<Batch, End> {
        let mut slot = self.lock();
        while !slot.batch.is_empty() && !slot.writer_gone {
            if let Some(end) = cut() {
                return Err(end);
            }
            slot.thread_waits = true;
            let waited = self.taken.wait_timeout(slot, CUT_CHECK);
            slot = unpoisoned(waited).0;
            slot.thread_waits = false;
        }
        if slot.writer_gone {
            return Err(End::Left);
        }
        slot.batch = batch;
        let spare = std::mem::take(&mut slot.spare);
        Self::wake(slot);
        Ok(spare)
    }

    /// Hands a batch over, and writes what the C core takes at once, on the
    /// calling thread; never waits. What cannot be written yet may grow to `most`
    /// messages here. Returns an empty vector.
    ///
    /// # Errors
    /// The batch, if it has to be offered by the stream's thread, which may block.
    pub fn try_offer(&self, mut batch: Batch, most: usize) -> Result<Batch, Batch> {
        let mut slot = self.lock();
        if slot.writer_gone || slot.batch.len() + batch.len() > most {
            return Err(batch);
        }
        if slot.batch.is_empty() {
            std::mem::swap(&mut slot.batch, &mut batch);
        } else {
            // The thread that writes takes it from here.
            slot.batch.append(&mut batch);
            return Ok(batch);
        }
        let waker = slot.waker.clone();
        drop(slot);
        // Without a waker the writer has not been polled yet, and will look.
        if let Some(waker) = waker {
            let mut cx = Context::from_waker(&waker);
            if self.drive(&mut cx, Driver::Caller).is_ready() {
                waker.wake();
            }
        }
        if batch.capacity() == 0 {
            batch = std::mem::take(&mut self.lock().spare);
        }
        Ok(batch)
    }

    /// Ends the stream with the status for `end`.
    pub fn finish(&self, end: End) {
        self.command(Command::Finish(end));
    }

    /// Ends the stream without a status.
    pub fn cancel(&self) {
        self.command(Command::Cancel);
    }

    fn command(&self, command: Command) {
        let mut slot = self.lock();
        slot.command = Some(command);
        Self::wake(slot);
    }

    /// Outside the lock, since the writer takes it at once.
    fn wake(slot: MutexGuard<'_, Slot>) {
        let waker = slot.waker.clone();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Drives the call as far as it can without waiting; `cx` is the
    /// writer's. If another thread drives it, that one goes on.
    fn drive(&self, cx: &mut Context<'_>, driver: Driver) -> Poll<()> {
        let mut slot = self.lock();
        slot.again |= slot.driven;
        if slot.driven {
            return Poll::Pending;
        }
        slot.driven = true;
        drop(slot);
        let mut call = lock(&self.call);
        let mut driver = driver;
        loop {
            let result = call.poll(self, cx, driver);
            let mut slot = self.lock();
            if result.is_ready() || !slot.again {
                slot.driven = false;
                return result;
            }
            slot.again = false;
            // It may have been the writer that came, for whatever reason.
            driver = Driver::Writer;
        }
    }

    /// What to do next, once. A final status waits until everything is written.
    pub(super) fn take_command(&self, written: bool) -> Option<Command> {
        let mut slot = self.lock();
        let written = written && slot.batch.is_empty();
        let wait = matches!(slot.command, Some(Command::Finish(End::Closed))) && !written;
        if wait { None } else { slot.command.take() }
    }

    /// Swaps the batch that waits for this empty one; false if there is none.
    pub(super) fn take_batch(&self, batch: &mut Batch) -> bool {
        let mut slot = self.lock();
        if slot.batch.is_empty() {
            return false;
        }
        std::mem::swap(&mut slot.batch, batch);
        if slot.thread_waits {
            self.taken.notify_one();
        }
        true
    }

    /// An empty vector for the next batch.
    pub(super) fn give_back(&self, spare: Batch) {
        self.lock().spare = spare;
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        lock(&self.slot)
    }
}

/// Who drives a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// A thread that has brought a batch.
    Caller,
    /// The writer, which something has woken: an operation that completed, a
    /// command, or the end of the call.
    Writer,
}

/// The C core's side. It ends when the status is out, or the peer or the call
/// has gone; then the membership and `guard` are dropped.
pub struct Writer<G> {
    handover: Arc<Handover>,
    _guard: G,
}

impl<G> Writer<G> {
    pub fn new(handover: Arc<Handover>, guard: G) -> Self {
        Self {
            handover,
            _guard: guard,
        }
    }
}

impl<G: Unpin> Future for Writer<G> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut slot = self.handover.lock();
        match &slot.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => slot.waker = Some(cx.waker().clone()),
        }
        drop(slot);
        self.handover.drive(cx, Driver::Writer)
    }
}

impl<G> Drop for Writer<G> {
    fn drop(&mut self) {
        let mut slot = self.handover.lock();
        slot.writer_gone = true;
        // It holds the call, which holds the writer's task.
        slot.waker = None;
        drop(slot);
        self.handover.taken.notify_one();
        // The thread may keep the hand-over a while longer.
        let call = self.handover.call.lock();
        unpoisoned(call).let_go();
    }
}
