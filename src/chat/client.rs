//! The client of the chat.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::AbortHandle;
use grpcio::Environment;
use protobuf::well_known_types::empty::Empty;

use super::wire;
use crate::chat::wire::ChatMessage;
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::grpc::client::{Connection, Proof, Settings, Stream};
use crate::key;

pub use super::message::Message;

/// A client of a chat server. May be shared between threads.
#[derive(Clone)]
pub struct ChatClient {
    connection: Connection,
}

impl ChatClient {
    /// See [`Connection::new`].
    pub fn new(environment: Arc<Environment>, server: &str, settings: &Settings) -> Self {
        Self::over(Connection::new(environment, server, settings))
    }

    pub fn over(connection: Connection) -> Self {
        Self { connection }
    }

    /// Sends a message and returns the time that the server gave it.
    ///
    /// # Errors
    /// The server's or the transport's error; DEADLINE_EXCEEDED after `timeout`,
    /// when the message may have been accepted or not.
    pub fn send(&self, author: &str, text: &str, timeout: Duration) -> Result<Timestamp, Error> {
        self.send_with(&[], author, text, timeout)
    }

    /// As [`ChatClient::send`], with an idempotency key: when it is sent again, it is
    /// delivered once, and the answer is the first one. With `epoch` it is accepted only by
    /// the server of this epoch, since another one would deliver it once more. A Python
    /// server knows neither.
    ///
    /// # Errors
    /// The same; INVALID_ARGUMENT for a bad key; ALREADY_EXISTS for one that came with
    /// another author or text; FAILED_PRECONDITION from a server of another epoch.
    pub fn send_once(
        &self,
        key: &str,
        epoch: Option<&str>,
        author: &str,
        text: &str,
        timeout: Duration,
    ) -> Result<Timestamp, Error> {
        let mut metadata = vec![(wire::KEY_METADATA, key::checked(key)?)];
        metadata.extend(epoch.map(|epoch| (wire::EPOCH_METADATA, epoch)));
        self.send_with(&metadata, author, text, timeout)
    }

    fn send_with(
        &self,
        metadata: &[(&str, &str)],
        author: &str,
        text: &str,
        timeout: Duration,
    ) -> Result<Timestamp, Error> {
        let request = wire::SendMessageRequest {
            author: author.into(),
            text: text.into(),
            ..Default::default()
        };
        let (connection, method) = (&self.connection, &wire::SEND_MESSAGE);
        let response = connection.call_with(metadata, method, &request, timeout)?;
        Ok(wire::response_time(&response))
    }

    /// Subscribes, and returns when the subscription is live.
    ///
    /// # Errors
    /// As [`Connection::subscribe`].
    pub fn subscribe(
        &self,
        timeout: Duration,
        settle: Duration,
    ) -> Result<(ChatStream, Proof), Error> {
        let (method, request) = (&wire::READ_MESSAGES, &Empty::new());
        let (stream, proof) = self
            .connection
            .subscribe(method, request, timeout, settle)?;
        Ok((ChatStream { stream }, proof))
    }
}

/// A live ReadMessages stream; dropping it cancels the call.
pub struct ChatStream {
    stream: Stream<ChatMessage>,
}

impl ChatStream {
    /// Blocks until there is a message.
    ///
    /// # Errors
    /// Why the stream ended; CANCELLED after [`AbortHandle::abort`].
    pub fn recv(&mut self) -> Result<Message, Error> {
        let ended = || Error::unavailable("the server ended the stream");
        let message = self.stream.recv()?.ok_or_else(ended)?;
        Ok(wire::message(message))
    }

    /// Ends the stream from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.stream.abort_handle()
    }
}
