//! The hand-over between a stream's thread and the C core: whole batches go one
//! way, "written" comes back.
//!
//! The [`Writer`] is the one future in our own code: it runs on the
//! completion-queue thread that owns the call, because an operation that
//! completes there wakes nobody else. With one hand-over per message instead,
//! half of the time goes into switching threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{Sink as _, ready};
use grpcio::{RpcStatus, ServerStreamingSink, ServerStreamingSinkFailure, WriteFlags};

use crate::domain::broadcast::{End, Envelope, Membership};
use crate::domain::clock::Timestamp;
use crate::domain::error::{Code, Error};
use crate::wire::method::Encoded;
use crate::wire::status;

pub type Batch = Vec<Envelope<Encoded>>;

/// How often a thread that waits for a peer looks whether it was cut meanwhile.
const CUT_CHECK: Duration = Duration::from_millis(100);

/// The stream thread's side.
#[derive(Default)]
pub struct Handover {
    slot: Mutex<Slot>,
    taken: Condvar,
}

#[derive(Default)]
struct Slot {
    /// For the writer: what to write next, and what to do then.
    batch: Batch,
    command: Option<Command>,
    waker: Option<Waker>,
    /// For the thread: an empty vector, and whether to go on.
    spare: Batch,
    thread_waits: bool,
    writer_gone: bool,
}

#[derive(Clone, Copy)]
enum Command {
    /// Write no more messages, send the status. After [`End::Closed`], what was
    /// handed over before is still written.
    Finish(End),
    /// Drop the call, whatever state it is in.
    Cancel,
}

impl Handover {
    /// Hands a batch over, and returns an empty vector for the next one. While
    /// one batch is written one other may wait here; for a third this blocks,
    /// which is what lets the backlog of a slow reader grow.
    ///
    /// # Errors
    /// Why the batch is not to be handed over: the writer has gone, or `cut`
    /// says so.
    pub fn offer(&self, batch: Batch, cut: impl Fn() -> Option<End>) -> Result<Batch, End> {
        let mut slot = self.lock();
        while !slot.batch.is_empty() && !slot.writer_gone {
            if let Some(end) = cut() {
                return Err(end);
            }
            slot.thread_waits = true;
            let waited = self.taken.wait_timeout(slot, CUT_CHECK);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
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
    fn wake(mut slot: MutexGuard<'_, Slot>) {
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The C core's side. It ends when the status is out, or the peer or the call
/// has gone; then `membership` and `guard` are dropped with it.
pub struct Writer<G> {
    handover: Arc<Handover>,
    membership: Membership<Encoded>,
    state: State,
    batch: Batch,
    next: usize,
    last_time: Option<Timestamp>,
    _guard: G,
}

impl<G> Drop for Writer<G> {
    fn drop(&mut self) {
        self.handover.lock().writer_gone = true;
        self.handover.taken.notify_one();
    }
}

enum State {
    Open(ServerStreamingSink<Encoded>),
    Finishing(ServerStreamingSinkFailure),
    Gone,
}

/// What the slot has for the writer.
enum Next {
    /// The batch, the new one or the one that is not written yet.
    Write,
    Command(Command),
    Nothing,
}

impl<G> Writer<G> {
    /// `first` is written before any batch.
    pub fn new(
        handover: Arc<Handover>,
        membership: Membership<Encoded>,
        sink: ServerStreamingSink<Encoded>,
        first: Option<Encoded>,
        guard: G,
    ) -> Self {
        let first = first.map(|payload| Envelope {
            time: Timestamp::default(),
            // It was never on the channel, so it does not count.
            bytes: 0,
            payload,
        });
        Self {
            handover,
            membership,
            state: State::Open(sink),
            batch: first.into_iter().collect(),
            next: 0,
            last_time: None,
            _guard: guard,
        }
    }

    /// Looks into the slot, and asks to be woken when there is nothing new.
    fn look(&mut self, cx: &Context<'_>) -> Next {
        let mut slot = self.handover.lock();
        if let Some(command) = slot.command {
            let unwritten = !self.batch.is_empty() || !slot.batch.is_empty();
            let wait = matches!(command, Command::Finish(End::Closed)) && unwritten;
            if !wait {
                slot.command = None;
                return Next::Command(command);
            }
        }
        match &slot.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => slot.waker = Some(cx.waker().clone()),
        }
        if self.batch.is_empty() {
            if slot.batch.is_empty() {
                return Next::Nothing;
            }
            std::mem::swap(&mut slot.batch, &mut self.batch);
            if slot.thread_waits {
                self.handover.taken.notify_one();
            }
        }
        Next::Write
    }

    /// Writes what is left of the batch, and waits until the C core has taken it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<grpcio::Result<()>> {
        let State::Open(sink) = &mut self.state else {
            return Poll::Ready(Err(grpcio::Error::RemoteStopped));
        };
        while let Some(envelope) = self.batch.get(self.next) {
            ready!(Pin::new(&mut *sink).poll_ready(cx))?;
            // All but the last may wait in the C core's buffer for the others,
            // so that one system call carries many.
            let more = self.next + 1 < self.batch.len();
            let flags = WriteFlags::default().buffer_hint(more);
            Pin::new(&mut *sink).start_send((envelope.payload.clone(), flags))?;
            self.last_time = Some(envelope.time);
            self.next += 1;
        }
        // Also notices a peer that has gone, when there is nothing to write.
        Pin::new(sink).poll_flush(cx)
    }

    /// The batch is written: it counts no more, and its vector goes back.
    fn release_batch(&mut self) {
        let counted = self.batch.iter().filter(|envelope| envelope.bytes > 0);
        let (messages, bytes) = counted.fold((0, 0), |(m, b), e| (m + 1, b + e.bytes));
        self.membership.release(messages, bytes);
        self.batch.clear();
        self.next = 0;
        self.handover.lock().spare = std::mem::take(&mut self.batch);
    }

    fn status(&self, end: End) -> RpcStatus {
        status::to_grpc(&match end {
            End::SlowConsumer => {
                let last = self.last_time.filter(|time| *time != Timestamp::default());
                let last = last.map_or_else(|| "none".into(), Timestamp::rfc3339);
                Error::new(
                    Code::ResourceExhausted,
                    format!("slow consumer: the backlog is full; last sendTime sent: {last}"),
                )
            }
            End::Closed | End::Left => Error::unavailable("shutting down"),
        })
    }
}

impl<G: Unpin> Future for Writer<G> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let next = this.look(cx);
            if let Next::Command(Command::Cancel) = next {
                return Poll::Ready(());
            }
            if let State::Finishing(status) = &mut this.state {
                // Whether or not the status arrived, the call is over. The wait
                // for a peer that does not read is ended by Cancel.
                return Pin::new(status).poll(cx).map(drop);
            }
            if let Next::Command(Command::Finish(end)) = next {
                let status = this.status(end);
                if let State::Open(sink) = std::mem::replace(&mut this.state, State::Gone) {
                    this.state = State::Finishing(sink.fail(status));
                }
                continue;
            }
            match this.poll_write(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if this.batch.is_empty() => return Poll::Pending,
                Poll::Ready(Ok(())) => this.release_batch(),
            }
        }
    }
}
