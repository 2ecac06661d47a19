//! The chat over gRPC as any client speaks it: without our acknowledgement, so
//! that a subscription is known to be live by the first marker that it shows.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, ClientSStreamReceiver, Environment, GrpcSlice,
    Marshaller, MessageReader, MetadataBuilder, Method, MethodType,
};
use protobuf::well_known_types::empty::Empty;

use super::trouble::{Trouble, said};
use crate::chat::client::Message;
use crate::chat::wire;
use crate::chat::wire::ChatMessage;
use crate::error::Error;
use crate::grpc::blocking;
use crate::grpc::subscription;
use crate::status;

/// The author of messages that only show how far a reader is.
pub const MARKER: &str = "marker";

/// More than any check sends.
const RECEIVE_BYTES: i32 = 16 * 1024 * 1024;

/// How long a connection may take before the first call is made anyway.
const CONNECT: Duration = Duration::from_secs(1);

/// How long one reader is waited for before the others are looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// One for all checks, for ever: a check that hangs may still use it.
///
/// The channel beside it is never connected. With its last channel the C core
/// also gives up its event engine, which now and then takes a second, and other
/// calls wait for it.
fn environment() -> Arc<Environment> {
    static SHARED: OnceLock<(Arc<Environment>, Channel)> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let environment = crate::grpc::client::environment();
        let idle = ChannelBuilder::new(environment.clone()).connect("127.0.0.1:1");
        (environment, idle)
    });
    shared.0.clone()
}

/// A text that no other message has.
pub fn unique() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// A connection to a server.
#[derive(Clone)]
pub struct Chat {
    client: Client,
    deadline: Instant,
}

impl Chat {
    /// Connects. Every call ends at the deadline.
    pub fn new(server: &str, deadline: Instant) -> Self {
        let channel = ChannelBuilder::new(environment())
            .enable_retry(false)
            // Each has a connection of its own, as each process would.
            .use_local_subchannel_pool(true)
            .max_receive_message_len(RECEIVE_BYTES)
            .connect(server);
        // A call that waits for its channel may be forgotten for a second by the
        // C core's thread pool (1.56: `SleepIfRunning` takes a worker's signal).
        // Who cannot connect is told so by the first call.
        let connected = channel.wait_for_connected(CONNECT);
        blocking::wait(connected, Some(CONNECT));
        Self {
            client: Client::new(channel),
            deadline,
        }
    }

    /// Returns the message as it has to arrive.
    ///
    /// # Errors
    /// What the server or the transport said.
    pub fn send(&self, author: &str, text: &str) -> Result<Message, Error> {
        let request = wire::SendMessageRequest {
            author: author.into(),
            text: text.into(),
            ..Default::default()
        };
        let response = self.call(&wire::SEND_MESSAGE, &request)?;
        Ok(Message {
            author: author.into(),
            text: text.into(),
            send_time: wire::response_time(&response),
        })
    }

    /// Makes a call.
    ///
    /// # Errors
    /// What the server or the transport said; DEADLINE_EXCEEDED at the deadline
    /// of the check.
    pub fn call<Q, A: Unpin>(&self, method: &Method<Q, A>, request: &Q) -> Result<A, Error> {
        let answer = self.client.unary_call(method, request, self.options());
        answer.map_err(|error| from_grpcio(&error))
    }

    /// A call whose request and answer are bytes, with one field of metadata if
    /// its value is not empty.
    ///
    /// # Errors
    /// As [`Chat::call`].
    pub fn call_bytes(&self, name: &'static str, request: &[u8], field: &str) -> Result<(), Error> {
        let mut metadata = MetadataBuilder::new();
        if !field.is_empty() {
            let added = metadata.add_str("x-field", field);
            added.map_err(|error| from_grpcio(&error))?;
        }
        let options = self.options().headers(metadata.build());
        let method = bytes(name);
        let answer = self.client.unary_call(&method, &request.to_vec(), options);
        answer.map(drop).map_err(|error| from_grpcio(&error))
    }

    fn options(&self) -> CallOption {
        let left = self.deadline.saturating_duration_since(Instant::now());
        CallOption::default().timeout(left)
    }

    /// Subscribes; the call may still be under way.
    pub fn reader(&self) -> Result<Reader, Trouble> {
        let options = CallOption::default();
        let stream = self
            .client
            .server_streaming(&wire::READ_MESSAGES, &Empty::new(), options)
            .map_err(|error| from_grpcio(&error))?;
        Ok(Reader {
            stream,
            _connection: self.client.clone(),
            deadline: self.deadline,
            failed: None,
            early: Vec::new(),
        })
    }

    /// Sends markers until each of these has shown one, and then the last of
    /// them. What else has come until then is in [`Reader::early`].
    pub fn make_live(&self, readers: &mut [Reader]) -> Result<(), Trouble> {
        let mut waiting: Vec<_> = readers.iter_mut().collect();
        while !waiting.is_empty() {
            self.send(MARKER, "")?;
            let mut still = Vec::new();
            for reader in waiting {
                match reader.poll(GLANCE) {
                    Some(Next::Message(message)) => {
                        let live = message.author == MARKER;
                        reader.early.push(message);
                        if !live {
                            still.push(reader);
                        }
                    }
                    Some(Next::End(error)) => return said(ended(&error)),
                    None if Instant::now() > self.deadline => return Err(Trouble::Hang),
                    None => still.push(reader),
                }
            }
            waiting = still;
        }
        let markers = self.read_up(readers)?;
        for (reader, early) in readers.iter_mut().zip(markers) {
            reader.early.extend(early);
        }
        Ok(())
    }

    /// Everything that each of these gets: sends a marker and reads up to it. All
    /// markers are left out.
    pub fn read_up(&self, readers: &mut [Reader]) -> Result<Vec<Vec<Message>>, Trouble> {
        let last = unique();
        self.send(MARKER, &last)?;
        let each = readers.iter_mut().map(|reader| {
            let mut all = Vec::new();
            loop {
                let message = reader.message()?;
                if message.author != MARKER {
                    all.push(message);
                } else if message.text == last {
                    return Ok(all);
                }
            }
        });
        each.collect()
    }
}

/// A ReadMessages stream. Nothing is taken from it but by these calls.
pub struct Reader {
    stream: ClientSStreamReceiver<ChatMessage>,
    _connection: Client,
    deadline: Instant,
    failed: Option<Error>,
    /// What came before the subscription was known to be live.
    pub early: Vec<Message>,
}

/// What comes on a stream.
pub enum Next {
    Message(Message),
    End(Error),
}

impl Reader {
    /// The next message or the end; `None` when neither comes in time.
    pub fn poll(&mut self, timeout: Duration) -> Option<Next> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match blocking::wait(self.stream.next(), Some(left))? {
                Some(Ok(wire)) => {
                    // An acknowledgement is for those who asked for it.
                    if !subscription::is_acknowledgement(&wire) {
                        return Some(Next::Message(wire::message(wire)));
                    }
                }
                // grpcio tells of the end before the last messages, which follow
                // when it is asked again.
                Some(Err(error @ grpcio::Error::RpcFailure(_))) => {
                    self.failed = Some(from_grpcio(&error));
                }
                Some(Err(error)) => return Some(Next::End(from_grpcio(&error))),
                None => {
                    let failed = self.failed.take();
                    let ok = || Error::unavailable("the stream ended with OK");
                    return Some(Next::End(failed.unwrap_or_else(ok)));
                }
            }
        }
    }

    /// The next message or the end.
    ///
    /// # Errors
    /// `Hang` when neither comes until the deadline.
    pub fn next(&mut self) -> Result<Next, Trouble> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.poll(left).ok_or(Trouble::Hang)
    }

    /// The next message, where an end is an error.
    pub fn message(&mut self) -> Result<Message, Trouble> {
        match self.next()? {
            Next::Message(message) => Ok(message),
            Next::End(error) => said(ended(&error)),
        }
    }
}

fn ended(error: &Error) -> String {
    format!("the stream ended with {}", status::name(error.code))
}

fn from_grpcio(error: &grpcio::Error) -> Error {
    match error {
        grpcio::Error::RpcFailure(rpc) | grpcio::Error::RpcFinished(Some(rpc)) => {
            status::from_grpc(rpc)
        }
        _ => Error::unavailable(error.to_string()),
    }
}

/// A method whose messages are bytes.
const fn bytes(name: &'static str) -> Method<Vec<u8>, Vec<u8>> {
    const AS_THEY_ARE: Marshaller<Vec<u8>> = Marshaller {
        ser: write,
        de: read,
    };
    Method {
        ty: MethodType::Unary,
        name,
        req_mar: AS_THEY_ARE,
        resp_mar: AS_THEY_ARE,
    }
}

#[expect(clippy::ptr_arg, reason = "the marshaller's type")]
fn write(bytes: &Vec<u8>, slot: &mut GrpcSlice) -> grpcio::Result<()> {
    *slot = GrpcSlice::from(bytes.clone());
    Ok(())
}

fn read(mut reader: MessageReader) -> grpcio::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.read_to_end(&mut bytes);
    read.map_err(|error| grpcio::Error::Codec(Box::new(error)))?;
    Ok(bytes)
}
