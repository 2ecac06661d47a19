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

use crate::domain::broadcast::{End, Envelope};
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
    returned: Condvar,
}

#[derive(Default)]
struct Slot {
    /// For the writer: what to write next, and what to do then.
    batch: Batch,
    command: Option<Command>,
    waker: Option<Waker>,
    /// For the thread: the vector of the batch that is written.
    written: Option<Batch>,
    writer_gone: bool,
}

enum Command {
    /// Write no more messages, send the status.
    Finish(End),
    /// Drop the call, whatever state it is in.
    Cancel,
}

impl Handover {
    /// Hands a batch over; one at a time, so [`Handover::wait`] comes next.
    pub fn offer(&self, batch: Batch) {
        self.change(|slot| slot.batch = batch);
    }

    /// Blocks until the batch is written, and returns its vector, emptied. This
    /// wait is what lets the backlog of a slow reader grow.
    ///
    /// # Errors
    /// Why the thread need not wait any longer: the writer has gone, or `cut`
    /// says that nobody is to be waited for.
    pub fn wait(&self, cut: impl Fn() -> Option<End>) -> Result<Batch, End> {
        let mut slot = self.lock();
        loop {
            if let Some(batch) = slot.written.take() {
                return Ok(batch);
            }
            if slot.writer_gone {
                return Err(End::Left);
            }
            if let Some(end) = cut() {
                return Err(end);
            }
            let waited = self.returned.wait_timeout(slot, CUT_CHECK);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the stream with the status for `end`.
    pub fn finish(&self, end: End) {
        self.change(|slot| slot.command = Some(Command::Finish(end)));
    }

    /// Ends the stream without a status.
    pub fn cancel(&self) {
        self.change(|slot| slot.command = Some(Command::Cancel));
    }

    fn change(&self, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.lock();
        change(&mut slot);
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
/// has gone; `guard` is dropped with it.
pub struct Writer<G> {
    handover: Arc<Handover>,
    state: State,
    batch: Batch,
    next: usize,
    last_time: Option<Timestamp>,
    _guard: G,
}

impl<G> Drop for Writer<G> {
    fn drop(&mut self) {
        self.handover.lock().writer_gone = true;
        self.handover.returned.notify_one();
    }
}

enum State {
    Open(ServerStreamingSink<Encoded>),
    Finishing(ServerStreamingSinkFailure),
    Gone,
}

impl<G> Writer<G> {
    /// `first` is written before any batch.
    pub fn new(
        handover: Arc<Handover>,
        sink: ServerStreamingSink<Encoded>,
        first: Option<Encoded>,
        guard: G,
    ) -> Self {
        if let Some(payload) = first {
            handover.lock().batch.push(Envelope {
                time: Timestamp::default(),
                bytes: payload.len(),
                payload,
            });
        }
        Self {
            handover,
            state: State::Open(sink),
            batch: Batch::new(),
            next: 0,
            last_time: None,
            _guard: guard,
        }
    }

    /// Takes the next batch or command; Pending when there is none.
    fn poll_slot(&mut self, cx: &Context<'_>) -> Poll<Option<Command>> {
        let mut slot = self.handover.lock();
        if let Some(command) = slot.command.take() {
            return Poll::Ready(Some(command));
        }
        if self.next == self.batch.len() && !slot.batch.is_empty() {
            std::mem::swap(&mut slot.batch, &mut self.batch);
            self.next = 0;
            return Poll::Ready(None);
        }
        match &slot.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => slot.waker = Some(cx.waker().clone()),
        }
        if self.batch.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(None)
        }
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
            if let State::Finishing(status) = &mut this.state {
                // Whether or not the status arrived, the call is over; the wait
                // for a peer that does not read is ended by Cancel.
                let over = Pin::new(status).poll(cx).is_ready();
                let command = this.poll_slot(cx);
                if over || matches!(command, Poll::Ready(Some(Command::Cancel))) {
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
            let slot = this.poll_slot(cx);
            match slot {
                Poll::Ready(Some(Command::Cancel)) => return Poll::Ready(()),
                Poll::Ready(Some(Command::Finish(end))) => {
                    let status = this.status(end);
                    if let State::Open(sink) = std::mem::replace(&mut this.state, State::Gone) {
                        this.batch.clear();
                        this.next = 0;
                        this.state = State::Finishing(sink.fail(status));
                    }
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            match this.poll_write(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if slot.is_pending() => return Poll::Pending,
                Poll::Ready(Ok(())) => {
                    let mut batch = std::mem::take(&mut this.batch);
                    this.next = 0;
                    batch.clear();
                    this.handover.lock().written = Some(batch);
                    this.handover.returned.notify_one();
                }
            }
        }
    }
}
