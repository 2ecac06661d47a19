//! The chat over gRPC as any client speaks it: without Subscribe, so
//! that a subscription is known to be live by the first marker that it shows.

use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use grpcio::{
    CallOption, ChannelBuilder, Client, Environment, GrpcSlice, Marshaller, MetadataBuilder,
    Method, MethodType,
};
use protobuf::well_known_types::empty::Empty;

use super::trouble::{Tried, Trouble, said};
use crate::chat::client::Message;
use crate::chat::wire::{self, ChatMessage, SendMessageRequest};
use crate::error::Error;
use crate::grpc::blocking;
use crate::grpc::client::{Stream, environment, from_grpcio};
use crate::status;

/// The author of messages that only show how far a reader is.
pub const MARKER: &str = "marker";

/// More than any check sends.
const RECEIVE_BYTES: i32 = 16 * 1024 * 1024;

/// How long a connection may take before the first call is made anyway.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a marker may be under way before another one is sent.
pub const GLANCE: Duration = Duration::from_millis(50);

/// One for all checks, for ever: a check that hangs may still use it.
fn shared_environment() -> Arc<Environment> {
    static SHARED: OnceLock<Arc<Environment>> = OnceLock::new();
    SHARED.get_or_init(environment).clone()
}

/// A connection to a server. Every wait ends at the deadline of the check.
#[derive(Clone)]
pub struct Chat {
    client: Client,
    deadline: Instant,
}

impl Chat {
    /// Connects; who cannot is told so by the first call.
    pub fn new(server: &str, deadline: Instant) -> Self {
        let channel = ChannelBuilder::new(shared_environment())
            .enable_retry(false)
            // Each has a connection of its own, as each process would.
            .use_local_subchannel_pool(true)
            // What is sent to one that does not read stays small on a busy machine.
            .http2_bdp_probe(false)
            .max_receive_message_len(RECEIVE_BYTES)
            .connect(server);
        // A call that waits for its channel may be forgotten for a second by the
        // C core's thread pool (1.56: `SleepIfRunning` takes a worker's signal).
        blocking::wait(channel.wait_for_connected(CONNECT), Some(CONNECT));
        let client = Client::new(channel);
        Self { client, deadline }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns the message as it has to arrive.
    pub fn send(&self, author: &str, text: &str) -> Result<Message, Error> {
        let mut request = SendMessageRequest::new();
        request.author = author.to_owned();
        request.text = text.to_owned();
        let response = self.call(&wire::SEND_MESSAGE, &request)?;
        Ok(Message {
            author: request.author,
            text: request.text,
            send_time: wire::response_time(&response),
        })
    }

    /// Sends this text by each of these authors, one after the other.
    pub fn send_each(&self, authors: Range<usize>, text: &str) -> Tried<Vec<Message>> {
        let sent = authors.map(|author| Ok(self.send(&author.to_string(), text)?));
        sent.collect()
    }

    /// A call, which ends with DEADLINE_EXCEEDED at the deadline.
    pub fn call<Q, A: Unpin>(&self, method: &Method<Q, A>, request: &Q) -> Result<A, Error> {
        let options = CallOption::default().timeout(self.left());
        let answer = self.client.unary_call(method, request, options);
        answer.map_err(|error| from_grpcio(&error))
    }

    /// A call of these bytes, with a field of metadata.
    pub fn call_bytes(&self, name: &'static str, request: &[u8], field: &str) -> Result<(), Error> {
        let method = Method {
            ty: MethodType::Unary,
            name,
            req_mar: Marshaller {
                ser: |bytes: &Vec<u8>, slot: &mut GrpcSlice| {
                    *slot = GrpcSlice::from(bytes.clone());
                    Ok(())
                },
                de: |_| Ok(Vec::new()),
            },
            resp_mar: Marshaller {
                ser: |(), _| Ok(()),
                de: |_| Ok(()),
            },
        };
        let mut metadata = MetadataBuilder::new();
        let added = metadata.add_str("x-field", field).map(drop);
        let options = CallOption::default().timeout(self.left());
        let options = options.headers(metadata.build());
        let call = || self.client.unary_call(&method, &request.to_vec(), options);
        added
            .and_then(|()| call())
            .map_err(|error| from_grpcio(&error))
    }

    /// Subscribes; the call may still be under way.
    pub fn subscribe(&self) -> Tried<Reader> {
        let (method, options) = (&wire::READ_MESSAGES, CallOption::default());
        let stream = self.client.server_streaming(method, &Empty::new(), options);
        let stream = stream.map_err(|error| from_grpcio(&error))?;
        Ok(Reader {
            stream: Stream::new(stream, self.client.clone()),
            marks: self.clone(),
            early: Vec::new(),
        })
    }

    /// Subscribes, and returns when the subscription is known to be live by the
    /// markers that `marks` sends.
    pub fn reader(&self, marks: &Self) -> Tried<Reader> {
        let mut reader = self.subscribe()?;
        reader.marks = marks.clone();
        reader.early = until_live(|text| marks.mark(text), || reader.take())?;
        Ok(reader)
    }

    pub fn mark(&self, text: &str) -> Tried {
        Ok(self.send(MARKER, text).map(drop)?)
    }
}

/// A ReadMessages stream. Nothing is taken from it but by these calls.
pub struct Reader {
    stream: Stream<ChatMessage>,
    /// Sends the markers.
    marks: Chat,
    /// What came before the subscription was known to be live.
    pub early: Vec<Message>,
}

impl Reader {
    /// The next message that is no marker, or why the stream has ended.
    pub fn next(&mut self) -> Tried<Result<Message, Error>> {
        loop {
            let next = self.stream.recv_within(self.marks.left()).transpose();
            match next.ok_or(Trouble::Hang)?.map(wire::message) {
                Ok(message) if message.author == MARKER => {}
                next => return Ok(next),
            }
        }
    }

    /// The next message that is no marker, where an end is an error.
    pub fn message(&mut self) -> Tried<Message> {
        self.next()?.or_else(ended)
    }

    /// What comes within a glance.
    fn take(&mut self) -> Tried<Vec<Message>> {
        let next = self.stream.recv_within(GLANCE).or_else(ended)?;
        if next.is_none() && self.marks.left().is_zero() {
            return Err(Trouble::Hang);
        }
        Ok(next.map(wire::message).into_iter().collect())
    }

    /// Everything that comes up to a marker.
    pub fn read_up(&mut self) -> Tried<Vec<Message>> {
        let marks = self.marks.clone();
        up_to_marker(|text| marks.mark(text), || self.take())
    }
}

fn ended<T>(error: Error) -> Tried<T> {
    said(format!(
        "the stream ended with {}",
        status::name(error.code)
    ))
}

/// Everything that comes up to a marker that is sent now, without all markers.
pub fn up_to_marker(
    mark: impl FnOnce(&str) -> Tried,
    mut take: impl FnMut() -> Tried<Vec<Message>>,
) -> Tried<Vec<Message>> {
    let last = format!("{:016x}", fastrand::u64(..));
    mark(&last)?;
    let mut all = Vec::new();
    while !all.iter().any(|message: &Message| message.text == last) {
        all.extend(take()?);
    }
    all.retain(|message| message.author != MARKER);
    Ok(all)
}

/// Sends markers until one comes, which shows that a subscription is live, and
/// takes the last of them: everything else that has come until then.
pub fn until_live(
    mark: impl Fn(&str) -> Tried,
    mut take: impl FnMut() -> Tried<Vec<Message>>,
) -> Tried<Vec<Message>> {
    let mut all = Vec::new();
    while !all.iter().any(|message: &Message| message.author == MARKER) {
        mark("")?;
        all.extend(take()?);
    }
    all.retain(|message| message.author != MARKER);
    all.extend(up_to_marker(mark, take)?);
    Ok(all)
}
