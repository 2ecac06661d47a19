//! The client of the chat.

use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use futures_util::stream::AbortHandle;
use grpcio::Environment;
use protobuf::well_known_types::empty::Empty;

use super::wire;
use crate::chat::wire::{ChatMessage, SubscribeResponse};
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::grpc::client::{Connection, Proof, Settings, Stream};
use crate::key;

pub use super::message::Message;

/// A place in a chat's order: behind the message of this time, in this run of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    epoch: Arc<str>,
    send_time: Timestamp,
}

impl Cursor {
    /// The run of the server.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// When the last message before it was sent.
    pub fn send_time(&self) -> Timestamp {
        self.send_time
    }
}

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
        self.send_once(None, None, author, text, timeout)
    }

    /// As [`ChatClient::send`]. What is sent again with the same idempotency key is
    /// delivered once, and gets the first answer; with an epoch it is accepted by that run
    /// of the server alone, since another one knows nothing of the key. A Python server
    /// knows neither.
    ///
    /// # Errors
    /// The same; INVALID_ARGUMENT for a bad key; ALREADY_EXISTS for one that came with
    /// another author or text; FAILED_PRECONDITION from a server of another epoch.
    pub fn send_once(
        &self,
        key: Option<&str>,
        epoch: Option<&str>,
        author: &str,
        text: &str,
        timeout: Duration,
    ) -> Result<Timestamp, Error> {
        let key = key.map(key::checked).transpose()?;
        let key = key.map(|key| (wire::KEY_METADATA, key));
        let epoch = epoch.map(|epoch| (wire::EPOCH_METADATA, epoch));
        let metadata: Vec<_> = key.into_iter().chain(epoch).collect();
        let request = wire::SendMessageRequest {
            author: author.into(),
            text: text.into(),
            ..Default::default()
        };
        let (connection, method) = (&self.connection, &wire::SEND_MESSAGE);
        let response = connection.call_with(&metadata, method, &request, timeout)?;
        Ok(wire::response_time(&response))
    }

    /// Subscribes from now on, and returns when the subscription is live.
    ///
    /// # Errors
    /// As [`ChatClient::subscribe_after`].
    pub fn subscribe(
        &self,
        timeout: Duration,
        settle: Duration,
    ) -> Result<(ChatStream, Proof), Error> {
        self.subscribe_after(None, timeout, settle)
    }

    /// Subscribes to all that comes after the cursor, if the server can resume there
    /// ([`ChatStream::resumed`]), and else from now on. Returns when the subscription is
    /// live.
    ///
    /// Subscribe begins with the proof of that. A server without it gets ReadMessages
    /// and `settle`, as [`Connection::settle`] says.
    ///
    /// # Errors
    /// The server's or the transport's error; DEADLINE_EXCEEDED after `timeout`.
    pub fn subscribe_after(
        &self,
        after: Option<&Cursor>,
        timeout: Duration,
        settle: Duration,
    ) -> Result<(ChatStream, Proof), Error> {
        let request = wire::subscribe_request(after.map(|it| (&*it.epoch, it.send_time)));
        let mut stream = self.connection.stream(&wire::SUBSCRIBE, &request)?;
        let late = "the server did not confirm the subscription in time";
        let late = || Error::new(Code::DeadlineExceeded, late);
        match stream.recv_within(timeout) {
            Ok(first) => {
                let first = first.ok_or_else(late)?;
                let (epoch, send_time, gap) = wire::beginning(&first)?;
                let epoch = epoch.into();
                let stream = ChatStream {
                    cursor: Some(Cursor { epoch, send_time }),
                    resumed: after.is_some() && !gap,
                    source: Source::Batches(stream, first.messages.into_iter()),
                };
                Ok((stream, Proof::Confirmed))
            }
            Err(error) if error.code == Code::Unimplemented => self.read(timeout, settle),
            Err(error) => Err(error),
        }
    }

    fn read(&self, timeout: Duration, settle: Duration) -> Result<(ChatStream, Proof), Error> {
        let (method, connection) = (&wire::READ_MESSAGES, &self.connection);
        let mut stream = connection.stream(method, &Empty::new())?;
        let proof = connection.settle(&mut stream, timeout, settle, |_| false)?;
        let stream = ChatStream {
            source: Source::Single(stream),
            resumed: false,
            cursor: None,
        };
        Ok((stream, proof))
    }
}

/// A live stream of messages; dropping it cancels the call.
pub struct ChatStream {
    source: Source,
    resumed: bool,
    cursor: Option<Cursor>,
}

enum Source {
    /// Subscribe, and what is left of its last response.
    Batches(Stream<SubscribeResponse>, IntoIter<ChatMessage>),
    /// ReadMessages.
    Single(Stream<ChatMessage>),
}

impl ChatStream {
    /// Blocks until there is a message.
    ///
    /// # Errors
    /// Why the stream ended; CANCELLED after [`AbortHandle::abort`].
    pub fn recv(&mut self) -> Result<Message, Error> {
        let ended = || Error::unavailable("the server ended the stream");
        let message = match &mut self.source {
            Source::Single(stream) => stream.recv()?.ok_or_else(ended)?,
            Source::Batches(stream, batch) => loop {
                if let Some(message) = batch.next() {
                    break message;
                }
                *batch = stream.recv()?.ok_or_else(ended)?.messages.into_iter();
            },
        };
        let message = wire::message(message);
        if let Some(cursor) = &mut self.cursor {
            cursor.send_time = message.send_time;
        }
        Ok(message)
    }

    /// Whether it has all that comes after the cursor that was asked for.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Where it stands: behind the last message that was received, and before the first
    /// one where it began. `None` for a server that cannot resume.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Ends the stream from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        match &self.source {
            Source::Single(stream) => stream.abort_handle(),
            Source::Batches(stream, _) => stream.abort_handle(),
        }
    }
}
