//! One server-streaming call: what is being written to it, and how it ends.
//!
//! It is driven by one thread at a time; see `writer`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Sink as _;
use grpcio::{RpcStatus, WriteFlags};

use super::writer::{Batch, Command, Driver, Handover};
use crate::error::{Code, Error};
use crate::fanout::broadcast::{End, Envelope, Membership};
use crate::fanout::clock::Timestamp;
use crate::grpc::handler::{StreamSink, StreamSinkFailure};
use crate::grpc::journal::StreamLog;
use crate::grpc::method::Encoded;
use crate::status;

/// One call, and what is being written to it.
pub(super) struct Call {
    membership: Option<Membership<Encoded>>,
    state: State,
    batch: Batch,
    next: usize,
    last_time: Option<Timestamp>,
    /// Messages that the C core has taken, of the batches before this one.
    written: u64,
    /// The end that was requested, if any.
    end: Option<End>,
    stream_log: Option<Arc<StreamLog>>,
}

enum State {
    Open(StreamSink),
    Finishing(StreamSinkFailure),
    Gone,
}

/// What the slot has for the call.
enum Next {
    /// The batch, the new one or the one that is not written yet.
    Write,
    Command(Command),
    Nothing,
}

impl Call {
    /// `first` is written before any batch.
    pub(super) fn new(
        membership: Membership<Encoded>,
        sink: StreamSink,
        first: Option<Encoded>,
        stream_log: Option<Arc<StreamLog>>,
    ) -> Self {
        let first = first.map(|payload| Envelope {
            time: Timestamp::default(),
            // It was never on the channel, so it does not count.
            bytes: 0,
            payload,
        });
        Self {
            membership: Some(membership),
            state: State::Open(sink),
            batch: first.into_iter().collect(),
            next: 0,
            last_time: None,
            written: 0,
            end: None,
            stream_log,
        }
    }

    /// The sink, if nothing has come to an end yet.
    pub(super) fn take_sink(&mut self) -> Option<StreamSink> {
        self.stream_log = None;
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Open(sink) => Some(sink),
            State::Finishing(_) | State::Gone => None,
        }
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn poll(
        &mut self,
        handover: &Handover,
        cx: &mut Context<'_>,
        driver: Driver,
    ) -> Poll<()> {
        loop {
            let next = self.look(handover);
            if let Next::Command(Command::Cancel) = next {
                self.let_go();
            }
            match &mut self.state {
                State::Gone => return Poll::Ready(()),
                // Whether or not the status arrived, the call is over. The wait
                // for a peer that does not read is ended by Cancel.
                State::Finishing(status) => {
                    ready!(Pin::new(status).poll(cx).map(drop));
                    self.let_go();
                    return Poll::Ready(());
                }
                State::Open(_) => {}
            }
            match next {
                Next::Command(Command::Finish(end)) => {
                    self.end = Some(end);
                    let status = self.status(end);
                    if let State::Open(sink) = std::mem::replace(&mut self.state, State::Gone) {
                        self.state = State::Finishing(sink.fail(status));
                    }
                }
                Next::Write => match self.write(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => self.release_batch(handover),
                    Poll::Ready(Err(_)) => self.let_go(),
                },
                // The operation under way needs nobody when it completes, so a
                // thread that has brought everything just leaves.
                Next::Nothing if driver == Driver::Caller => return Poll::Pending,
                // Asks to be woken when the peer goes.
                Next::Command(_) | Next::Nothing => match self.ready(cx) {
                    Poll::Ready(Err(_)) => self.let_go(),
                    _ => return Poll::Pending,
                },
            }
        }
    }

    /// Takes the next command or batch from the slot.
    fn look(&mut self, handover: &Handover) -> Next {
        let written = self.batch.is_empty();
        if let Some(command) = handover.take_command(written) {
            return Next::Command(command);
        }
        if written && !handover.take_batch(&mut self.batch) {
            return Next::Nothing;
        }
        Next::Write
    }

    /// Whether the C core takes a message; else the writer is woken when it does.
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<grpcio::Result<()>> {
        let State::Open(sink) = &mut self.state else {
            return Poll::Ready(Err(grpcio::Error::RemoteStopped));
        };
        Pin::new(sink).poll_ready(cx)
    }

    /// Writes what is left of the batch, as far as the C core takes it.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<grpcio::Result<()>> {
        while let Some(envelope) = self.batch.get(self.next) {
            let State::Open(sink) = &mut self.state else {
                return Poll::Ready(Err(grpcio::Error::RemoteStopped));
            };
            ready!(Pin::new(&mut *sink).poll_ready(cx))?;
            // All but the last may wait in the C core's buffer for the others,
            // so that one system call carries many.
            let more = self.next + 1 < self.batch.len();
            let flags = WriteFlags::default().buffer_hint(more);
            Pin::new(sink).start_send((envelope.payload.clone(), flags))?;
            self.last_time = Some(envelope.time);
            self.next += 1;
        }
        Poll::Ready(Ok(()))
    }

    /// The C core has the batch: it counts no more, and its vector goes back.
    fn release_batch(&mut self, handover: &Handover) {
        let (messages, bytes) = self.taken();
        self.written += messages as u64;
        if let Some(membership) = &self.membership {
            membership.release(messages, bytes);
        }
        self.batch.clear();
        self.next = 0;
        handover.give_back(std::mem::take(&mut self.batch));
    }

    /// Messages and bytes of the batch that the C core has.
    fn taken(&self) -> (usize, usize) {
        let counted = self.batch[..self.next].iter().filter(|e| e.bytes > 0);
        counted.fold((0, 0), |(m, b), e| (m + 1, b + e.bytes))
    }

    /// Drops the call and leaves the broadcast. Idempotent.
    pub(super) fn let_go(&mut self) {
        if let Some(stream_log) = self.stream_log.take() {
            let messages = self.written + self.taken().0 as u64;
            match self.end {
                Some(End::SlowConsumer) => stream_log.cut(messages),
                Some(End::Closed) => stream_log.ended(&Err(Error::shutting_down()), messages),
                Some(End::Left) | None => stream_log.ended(&Err(Error::client_left()), messages),
            }
        }
        self.next = 0;
        self.state = State::Gone;
        self.membership = None;
        self.batch = Batch::new();
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
            End::Closed | End::Left => Error::shutting_down(),
        })
    }
}
