//! The client's ends of a stream: receiving and sending.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{AbortHandle, Abortable, abortable};
use futures_util::{SinkExt as _, StreamExt as _};
use grpcio::Error::RpcFailure;
use grpcio::{Client, ClientDuplexSender, WriteFlags};

use crate::error::{Code, Error};
use crate::grpc::blocking;
use crate::status;

type Receiver<A> = Pin<Box<dyn futures_util::Stream<Item = grpcio::Result<A>> + Send>>;

/// Whether a subscription is known to be live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The server has said so, on this very stream.
    Confirmed,
    /// Unconfirmed: the server cannot say so, and had the settle time to register it.
    Settled,
}

/// The receiving end of a stream; dropping it cancels the call. For one thread.
pub struct Stream<A> {
    receiver: Abortable<Receiver<A>>,
    abort: AbortHandle,
    /// Received before anybody asked for it.
    pub(super) early: Option<A>,
    /// Why the stream ends, once its last messages are out.
    failed: Option<Error>,
    /// An error of the stream itself: polled after it, the C core's futures panic.
    broken: Option<Error>,
    /// A call that is not under way yet hangs when its channel goes.
    _client: Client,
}

impl<A> Stream<A> {
    pub fn new(
        receiver: impl futures_util::Stream<Item = grpcio::Result<A>> + Send + 'static,
        client: Client,
    ) -> Self {
        let (receiver, abort) = abortable(Box::pin(receiver) as Receiver<A>);
        Self {
            receiver,
            abort,
            early: None,
            failed: None,
            broken: None,
            _client: client,
        }
    }

    /// Blocks until there is a message. `None` is the end that the server gave
    /// the stream with OK.
    ///
    /// # Errors
    /// Why the stream ended otherwise; CANCELLED after [`AbortHandle::abort`].
    pub fn recv(&mut self) -> Result<Option<A>, Error> {
        match self.early.take() {
            Some(message) => Ok(Some(message)),
            None => self.receive(None).map(|received| match received {
                Received::Message(message) => Some(message),
                Received::Nothing | Received::End => None,
            }),
        }
    }

    /// As [`Stream::recv`], where `None` means that nothing came in time.
    ///
    /// # Errors
    /// As [`Stream::recv`], and UNAVAILABLE at an end with OK.
    pub fn recv_within(&mut self, timeout: Duration) -> Result<Option<A>, Error> {
        match self.receive(Some(timeout))? {
            Received::Message(message) => Ok(Some(message)),
            Received::Nothing => Ok(None),
            Received::End => Err(Error::unavailable("the server ended the stream")),
        }
    }

    /// Ends the stream from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    fn receive(&mut self, timeout: Option<Duration>) -> Result<Received<A>, Error> {
        loop {
            if let Some(error) = &self.broken {
                return Err(error.clone());
            }
            match blocking::wait(self.receiver.next(), timeout) {
                None => return Ok(Received::Nothing),
                Some(Some(Ok(message))) => return Ok(Received::Message(message)),
                // grpcio reports the end as soon as it knows, before messages
                // that came earlier; those follow when polled again.
                Some(Some(Err(error @ RpcFailure(_)))) => self.failed = Some(from_grpcio(&error)),
                Some(Some(Err(error))) => self.broken = Some(from_grpcio(&error)),
                Some(None) if self.abort.is_aborted() => {
                    return Err(Error::new(Code::Cancelled, "the stream was aborted"));
                }
                Some(None) => return self.failed.take().map_or(Ok(Received::End), Err),
            }
        }
    }
}

enum Received<A> {
    Message(A),
    Nothing,
    End,
}

/// The sending end of a bidirectional stream. Dropping it cancels the
/// call unless it was closed. For one thread.
pub struct Requests<Q> {
    sender: ClientDuplexSender<Q>,
    /// The first error, as [`Stream::broken`].
    failed: Option<Error>,
    _client: Client,
}

impl<Q> Requests<Q> {
    pub(super) fn new(sender: ClientDuplexSender<Q>, client: Client) -> Self {
        Self {
            sender,
            failed: None,
            _client: client,
        }
    }

    /// Blocks until the transport has taken the request.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED when it does not within `timeout`, or UNAVAILABLE when
    /// the stream is over; the receiving end says why. From then on each call gives
    /// the same error at once.
    pub fn send(&mut self, request: Q, timeout: Duration) -> Result<(), Error> {
        self.refuse()?;
        let sent = self.sender.send((request, WriteFlags::default()));
        let sent = blocking::wait(sent, Some(timeout));
        self.over_or_late(sent)
    }

    /// Half-closes the stream: no more requests, answers still come.
    ///
    /// # Errors
    /// As [`Requests::send`].
    pub fn close(&mut self, timeout: Duration) -> Result<(), Error> {
        self.refuse()?;
        let closed = blocking::wait(self.sender.close(), Some(timeout));
        self.over_or_late(closed)
    }

    fn refuse(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn over_or_late(&mut self, sent: Option<grpcio::Result<()>>) -> Result<(), Error> {
        let error = match sent {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => from_grpcio(&error),
            None => Error::new(
                Code::DeadlineExceeded,
                "the transport does not take the request",
            ),
        };
        Err(self.failed.insert(error).clone())
    }
}

pub fn from_grpcio(error: &grpcio::Error) -> Error {
    match error {
        RpcFailure(rpc) => status::from_grpc(rpc),
        grpcio::Error::RpcFinished(Some(rpc)) => status::from_grpc(rpc),
        grpcio::Error::Codec(_) => Error::new(Code::Internal, error.to_string()),
        _ => Error::unavailable(error.to_string()),
    }
}
