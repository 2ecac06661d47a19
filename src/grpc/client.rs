//! The gRPC client of the chat: blocking calls, and the stream as something to
//! wait on. Works against any server of the contract.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::{AbortHandle, Abortable, abortable};
use grpcio::Error::RpcFailure;
use grpcio::{
    CallOption, ChannelBuilder, Client, ClientSStreamReceiver, EnvBuilder, Environment,
    MetadataBuilder, Method,
};
use protobuf::well_known_types::empty::Empty;

use super::blocking;
use crate::domain::chat::Message;
use crate::domain::clock::Timestamp;
use crate::domain::error::{Code, Error};
use crate::wire::generated::messenger::ChatMessage;
use crate::wire::{chat, health, status};

/// Larger messages than any server of ours sends; a Python server has no limit
/// of its own below gRPC's 4 MiB.
const RECEIVE_BYTES: i32 = 16 * 1024 * 1024;

/// How a client looks after its connection.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// A Python server (C core defaults) takes more than two pings within five
    /// minutes without data for an attack, so the interval is above that.
    pub interval: Duration,
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(310),
            timeout: Duration::from_secs(10),
        }
    }
}

/// A connection to a chat server, made when it is first used and again when it
/// was lost. May be shared between threads.
pub struct ChatClient {
    client: Client,
}

/// The completion queue of a process's clients, with its thread "grpc-client-0".
pub fn environment() -> Arc<Environment> {
    named_environment("grpc-client")
}

/// A completion queue whose thread has this name and "-0".
pub fn named_environment(name: &str) -> Arc<Environment> {
    Arc::new(EnvBuilder::new().cq_count(1).name_prefix(name).build())
}

/// How sure one can be that a subscription is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The server acknowledged this very subscription.
    Acknowledged,
    /// The server does not acknowledge; it had the settle time to register it.
    Settled,
}

impl ChatClient {
    /// `environment` is [`environment`]'s, one for all clients of a process.
    pub fn new(environment: Arc<Environment>, server: &str, keepalive: Keepalive) -> Self {
        let channel = ChannelBuilder::new(environment)
            // A call that may have reached the server is never sent again.
            .enable_retry(false)
            // Each client has a connection of its own, as each process would.
            .use_local_subchannel_pool(true)
            .initial_reconnect_backoff(Duration::from_millis(100))
            .max_reconnect_backoff(Duration::from_secs(1))
            .max_receive_message_len(RECEIVE_BYTES)
            .keepalive_time(keepalive.interval)
            .keepalive_timeout(keepalive.timeout)
            .http2_max_pings_without_data(0)
            .connect(server);
        Self {
            client: Client::new(channel),
        }
    }

    /// Sends a message and returns the time that the server gave it.
    ///
    /// # Errors
    /// What the server or the transport said; DEADLINE_EXCEEDED after `timeout`,
    /// and then the message may have been accepted or not.
    pub fn send(&self, author: &str, text: &str, timeout: Duration) -> Result<Timestamp, Error> {
        let request = chat::Request {
            author: author.into(),
            text: text.into(),
            ..Default::default()
        };
        let response = self.call(&chat::SEND_MESSAGE, &request, timeout)?;
        Ok(chat::response_time(&response))
    }

    /// Subscribes, and returns when the subscription is live.
    ///
    /// The probe goes over the same connection after the stream was opened. From
    /// a server that knows it, the acknowledgement follows on the stream. Any
    /// other server has at least received the stream's request by then, and gets
    /// `settle` to act on it.
    ///
    /// # Errors
    /// What the server or the transport said; DEADLINE_EXCEEDED after `timeout`.
    pub fn subscribe(
        &self,
        timeout: Duration,
        settle: Duration,
    ) -> Result<(ChatStream, Proof), Error> {
        let deadline = Instant::now() + timeout;
        let mut metadata = MetadataBuilder::new();
        metadata
            .add_str(chat::ACK_HEADER, "1")
            .map_err(|e| from_grpcio(&e))?;
        let options = CallOption::default().headers(metadata.build());
        let receiver = self
            .client
            .server_streaming(&chat::READ_MESSAGES, &Empty::new(), options)
            .map_err(|e| from_grpcio(&e))?;
        let (receiver, abort) = abortable(receiver);
        let mut stream = ChatStream {
            receiver,
            abort,
            early: None,
            failed: None,
        };
        let acknowledges = match self.call(&chat::PROBE, &Empty::new(), timeout) {
            Ok(_) => true,
            Err(error) if error.code == Code::Unimplemented => false,
            Err(error) => return Err(error),
        };
        let wait = if acknowledges {
            deadline.saturating_duration_since(Instant::now())
        } else {
            settle
        };
        match (stream.receive(Some(wait)), acknowledges) {
            (Received::Acknowledgement, _) => Ok((stream, Proof::Acknowledged)),
            (Received::Nothing, false) => Ok((stream, Proof::Settled)),
            (Received::Message(message), false) => {
                stream.early = Some(message);
                Ok((stream, Proof::Settled))
            }
            (Received::Message(_), true) => Err(Error::new(
                Code::Internal,
                "the server sent a message before its acknowledgement",
            )),
            (Received::Nothing, true) => Err(Error::new(
                Code::DeadlineExceeded,
                "the server did not acknowledge the subscription in time",
            )),
            (Received::End(error), _) => Err(error),
        }
    }

    /// Asks the standard health service about `service` ("" is the whole server).
    ///
    /// # Errors
    /// UNAVAILABLE when it does not serve, or what the transport said.
    pub fn check_health(&self, service: &str, timeout: Duration) -> Result<(), Error> {
        let request = health::HealthCheckRequest {
            service: service.into(),
            ..Default::default()
        };
        let response = self.call(&health::CHECK, &request, timeout)?;
        match response.status.enum_value() {
            Ok(health::Status::SERVING) => Ok(()),
            Ok(other) => Err(Error::unavailable(format!("the server says {other:?}"))),
            Err(number) => Err(Error::unavailable(format!("unknown status {number}"))),
        }
    }

    fn call<Q, A: Unpin>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, Error> {
        let options = CallOption::default().timeout(timeout);
        let answer = self.client.unary_call(method, request, options);
        answer.map_err(|error| match from_grpcio(&error) {
            // Nobody here cancels a unary call: the C core does so with calls
            // that reach a server in the moment of its end.
            error if error.code == Code::Cancelled => Error::unavailable("the server has ended"),
            error => error,
        })
    }
}

/// A live ReadMessages stream; dropping it cancels the call.
pub struct ChatStream {
    receiver: Abortable<ClientSStreamReceiver<ChatMessage>>,
    abort: AbortHandle,
    early: Option<Message>,
    /// Why the stream ends, once its last messages are out.
    failed: Option<Error>,
}

enum Received {
    Message(Message),
    Acknowledgement,
    Nothing,
    End(Error),
}

impl ChatStream {
    /// Blocks until there is a message.
    ///
    /// # Errors
    /// Why the stream ended; CANCELLED after [`AbortHandle::abort`].
    pub fn recv(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.early.take() {
                return Ok(message);
            }
            match self.receive(None) {
                Received::Message(message) => return Ok(message),
                Received::Acknowledgement | Received::Nothing => {}
                Received::End(error) => return Err(error),
            }
        }
    }

    /// Ends the stream from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    fn receive(&mut self, timeout: Option<Duration>) -> Received {
        loop {
            match blocking::wait(self.receiver.next(), timeout) {
                None => return Received::Nothing,
                Some(Some(Ok(wire))) => {
                    let message = chat::message(wire);
                    return message.map_or(Received::Acknowledgement, Received::Message);
                }
                // grpcio tells of the end as soon as it knows, before messages
                // that came earlier; those follow when it is asked again.
                Some(Some(Err(error @ RpcFailure(_)))) => self.failed = Some(from_grpcio(&error)),
                Some(Some(Err(error))) => return Received::End(from_grpcio(&error)),
                Some(None) => return Received::End(self.end()),
            }
        }
    }

    fn end(&mut self) -> Error {
        if self.abort.is_aborted() {
            return Error::new(Code::Cancelled, "the stream was aborted");
        }
        let failed = self.failed.take();
        failed.unwrap_or_else(|| Error::unavailable("the server ended the stream"))
    }
}

fn from_grpcio(error: &grpcio::Error) -> Error {
    match error {
        RpcFailure(rpc) => status::from_grpc(rpc),
        grpcio::Error::RpcFinished(Some(rpc)) => status::from_grpc(rpc),
        grpcio::Error::Codec(_) => Error::new(Code::Internal, error.to_string()),
        _ => Error::unavailable(error.to_string()),
    }
}
