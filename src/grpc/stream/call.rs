//! The C core's side of a stream: a server-streaming call, and the task on its
//! completion queue's thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Sink as _;
use grpcio::WriteFlags;

use super::delivery::{Delivery, Gone, Peer};
use super::ends::Ending;
use super::places::Place;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{End, Envelope};
use crate::fanout::clock::Timestamp;
use crate::grpc::handler::{StreamSink, StreamSinkFailure};
use crate::grpc::journal::StreamLog;
use crate::grpc::method::Encoded;
use crate::status;

/// What the peers of a broadcast that was restarted are told.
const RESTARTED: &str = "what comes next does not follow what was sent: subscribe again";

/// How the streams of a method are put to their peers: all that is different between
/// methods that stream the same messages.
pub trait Framing: Send {
    /// A response with the first of the messages that wait, at least one, and how many it
    /// carries.
    fn response(&mut self, waiting: &[Envelope<Encoded>]) -> (Encoded, usize) {
        (waiting[0].payload.clone(), 1)
    }

    /// The error with which the stream ends; `last` is the time of the last message sent.
    fn end(&self, error: Error, _last: Option<Timestamp>) -> Error {
        error
    }
}

/// One message in each response.
pub struct OneByOne;

impl Framing for OneByOne {}

/// One call, and its place among the live streams.
pub struct Call {
    sink: Sink,
    framing: Box<dyn Framing>,
    stream_log: Option<Arc<StreamLog>>,
    /// Sent since they were counted.
    uncounted: u64,
    /// Why it ends early, if it does.
    pub early: Option<Error>,
    _place: Place,
}

enum Sink {
    Open(StreamSink),
    Finishing(StreamSinkFailure),
    Gone,
}

impl Call {
    pub fn new(
        sink: StreamSink,
        framing: Box<dyn Framing>,
        place: Place,
        stream_log: Option<Arc<StreamLog>>,
    ) -> Self {
        Self {
            sink: Sink::Open(sink),
            framing,
            stream_log,
            uncounted: 0,
            early: None,
            _place: place,
        }
    }

    /// The sink, if the call can still be refused.
    pub fn into_sink(self) -> Option<StreamSink> {
        match self.sink {
            Sink::Open(sink) => Some(sink),
            Sink::Finishing(_) | Sink::Gone => None,
        }
    }
}

impl Call {
    fn start_send(&mut self, response: Encoded, more: bool) -> Result<(), Gone> {
        let Sink::Open(sink) = &mut self.sink else {
            return Err(Gone);
        };
        // What waits in the C core's buffer goes out with the next response.
        let flags = WriteFlags::default().buffer_hint(more);
        let sent = Pin::new(sink).start_send((response, flags));
        sent.map_err(|_| Gone)
    }

    /// Once for a batch.
    fn count(&mut self) {
        let sent = std::mem::take(&mut self.uncounted);
        if let Some(stream_log) = &self.stream_log {
            stream_log.sent(sent);
        }
    }
}

impl Peer for Call {
    type Message = Encoded;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let Sink::Open(sink) = &mut self.sink else {
            return Poll::Ready(Err(Gone));
        };
        Pin::new(sink).poll_ready(cx).map_err(|_| Gone)
    }

    fn send_first(&mut self, first: Encoded) -> Result<(), Gone> {
        self.start_send(first, false)
    }

    fn send(&mut self, waiting: &[Envelope<Encoded>]) -> Result<usize, Gone> {
        let (response, messages) = self.framing.response(waiting);
        let more = messages < waiting.len();
        self.start_send(response, more)?;
        self.uncounted += messages as u64;
        if !more {
            self.count();
        }
        Ok(messages)
    }

    fn finish(&mut self, end: End, last: Option<Timestamp>) {
        if let Sink::Open(sink) = std::mem::replace(&mut self.sink, Sink::Gone) {
            let error = self.framing.end(self.reason(end, last), last);
            let status = status::to_grpc(&error);
            self.sink = Sink::Finishing(sink.fail(status));
        }
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sink {
            // Whether or not the status arrived, the call is over.
            Sink::Finishing(status) => Pin::new(status).poll(cx).map(drop),
            Sink::Open(_) | Sink::Gone => Poll::Ready(()),
        }
    }

    fn ended(&mut self, end: Option<End>, messages: u64) {
        self.count();
        let Some(stream_log) = &self.stream_log else {
            return;
        };
        match end {
            Some(End::SlowConsumer) => stream_log.cut(messages),
            Some(End::Closed) => stream_log.ended(&Err(self.closed()), messages),
            Some(End::Restarted) => {
                stream_log.ended(&Err(Error::unavailable(RESTARTED)), messages);
            }
            Some(End::Left) | None => stream_log.ended(&Err(Error::client_left()), messages),
        }
    }
}

impl Call {
    /// What the peer is told.
    fn reason(&self, end: End, last: Option<Timestamp>) -> Error {
        match end {
            End::SlowConsumer => {
                let last = last.map_or_else(|| "none".into(), Timestamp::rfc3339);
                Error::new(
                    Code::ResourceExhausted,
                    format!("slow consumer: the backlog is full; last sendTime sent: {last}"),
                )
            }
            End::Restarted => Error::unavailable(RESTARTED),
            End::Closed | End::Left => self.closed(),
        }
    }

    fn closed(&self) -> Error {
        self.early.clone().unwrap_or_else(Error::shutting_down)
    }
}

impl Ending for Delivery<Call> {
    fn end_early(&self, error: Error) {
        self.close(|call| call.early = Some(error));
    }
}

/// The future that the completion queue's thread polls. A panic in it ends the call,
/// as in all that [`Caller::spawn`](crate::grpc::handler::Caller::spawn) is given.
pub struct Task(pub Arc<Delivery<Call>>);

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

impl Drop for Task {
    /// The call is over, by a panic too, or the server is going.
    fn drop(&mut self) {
        self.0.abandon();
    }
}
