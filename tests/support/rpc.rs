//! gRPC clients in this process.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use futures_util::StreamExt as _;
use grpcio::{
    CallOption, ChannelBuilder, Client, ClientSStreamReceiver, Environment, GrpcSlice, Marshaller,
    MessageReader, Method, MethodType, RpcStatus,
};
use messenger::chat::client::{ChatClient, ChatStream};
use messenger::chat::message::Message;
use messenger::chat::wire::{self, SubscribeRequest};
use messenger::error::Error;
use messenger::generated::messenger::ChatMessage;
use messenger::grpc::blocking;
use messenger::grpc::client::{Connection, Proof, Settings};
use messenger::status;
use protobuf::well_known_types::empty::Empty;

use super::SOON;
use super::feed::Feed;
use super::http::{Seen, seen};
use super::programs::Program;

/// What a Python server gets to register a subscription.
pub const SETTLE: Duration = Duration::from_millis(500);

pub fn environment() -> Arc<Environment> {
    static SHARED: OnceLock<Arc<Environment>> = OnceLock::new();
    let shared = SHARED.get_or_init(messenger::grpc::client::environment);
    shared.clone()
}

/// A client with a connection of its own.
pub fn client(server: &str) -> ChatClient {
    ChatClient::new(environment(), server, &Settings::default())
}

/// A connection of its own, for a client of any service.
pub fn connection(server: &str) -> Connection {
    Connection::new(environment(), server, &Settings::default())
}

/// The same without our code around it.
pub fn raw(server: &str) -> Client {
    let channel = ChannelBuilder::new(environment())
        .use_local_subchannel_pool(true)
        .enable_retry(false)
        .connect(server);
    Client::new(channel)
}

/// A method whose messages are bytes.
pub const fn bytes(ty: MethodType, name: &'static str) -> Method<Vec<u8>, Vec<u8>> {
    Method {
        ty,
        name,
        req_mar: Marshaller {
            ser: write,
            de: read,
        },
        resp_mar: Marshaller {
            ser: write,
            de: read,
        },
    }
}

#[expect(clippy::ptr_arg, reason = "the marshaller's type")]
fn write(bytes: &Vec<u8>, slot: &mut GrpcSlice) -> grpcio::Result<()> {
    *slot = GrpcSlice::from(bytes.clone());
    Ok(())
}

fn read(mut reader: MessageReader) -> grpcio::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .read_to_end(&mut bytes)
        .map_err(|e| grpcio::Error::Codec(Box::new(e)))?;
    Ok(bytes)
}

/// One that takes 64 KiB of a stream that it does not read, and never more.
pub fn narrow(server: &str) -> Client {
    let channel = ChannelBuilder::new(environment())
        .use_local_subchannel_pool(true)
        .enable_retry(false)
        .http2_bdp_probe(false)
        .stream_initial_window_size(64 * 1024)
        .connect(server);
    Client::new(channel)
}

/// Sends and returns the time in the answer, in nanoseconds.
pub fn send(client: &ChatClient, author: &str, text: &str) -> i64 {
    let sent = client.send(author, text, SOON);
    sent.unwrap_or_else(|e| panic!("send: {e}")).nanos()
}

/// A live subscription that nobody reads until [`receive`] is called.
pub fn subscribe(client: &ChatClient) -> Result<ChatStream, Error> {
    client.subscribe(SOON, SETTLE).map(|(stream, _)| stream)
}

/// The next message of such a stream, or its end; aborted when neither comes.
pub fn receive(stream: &mut ChatStream) -> Result<Message, Error> {
    let abort = stream.abort_handle();
    let (done, waiting) = bounded::<()>(0);
    thread::spawn(move || {
        if waiting.recv_timeout(SOON) == Err(RecvTimeoutError::Timeout) {
            abort.abort();
        }
    });
    let next = stream.recv();
    drop(done);
    next
}

/// A thread that reads a stream from its live subscription on.
pub struct Reader {
    pub proof: Proof,
    feed: Feed<Message>,
}

impl Reader {
    pub fn start(server: &str) -> Self {
        let client = client(server);
        let (mut stream, proof) = client.subscribe(SOON, SETTLE).expect("a subscription");
        let feed = Feed::start(stream.abort_handle(), move || {
            let _connection = &client;
            stream.recv().map(Some)
        });
        Self { proof, feed }
    }

    pub fn next(&self) -> Message {
        self.feed.next()
    }

    /// The next message, for comparison.
    pub fn seen(&self) -> Seen {
        let message = self.next();
        seen(&message.author, &message.text, message.send_time.nanos())
    }

    /// Skips the messages that are left; returns their number and the end.
    pub fn end(&self, within: Duration) -> (usize, Error) {
        let (skipped, end) = self.feed.rest(within);
        (skipped.len(), end.expect_err("no chat ends with OK"))
    }
}

/// What a stream of a [`Crowd`] reports.
#[derive(Debug)]
enum Event {
    Live,
    Messages(usize),
    End(Error),
}

/// Many Subscribe streams on a few connections, without a thread for each.
pub struct Crowd {
    size: usize,
    events: Receiver<Event>,
    _clients: Vec<Client>,
}

impl Crowd {
    /// Returns when the server has confirmed all subscriptions.
    pub fn open(server: &str, connections: usize, streams: usize) -> Self {
        let clients = (0..connections).map(|_| raw(server));
        Self::over(clients.collect(), streams)
    }

    /// As [`Crowd::open`], so many streams over each of these connections.
    pub fn over(clients: Vec<Client>, streams: usize) -> Self {
        let (sender, events) = unbounded();
        for client in &clients {
            for _ in 0..streams {
                follow(client, sender.clone());
            }
        }
        let size = clients.len() * streams;
        let crowd = Self {
            size,
            events,
            _clients: clients,
        };
        for live in 0..size {
            match crowd.events.recv_timeout(SOON) {
                Ok(Event::Live) => {}
                other => panic!("{live} of {size} streams are live, then {other:?}"),
            }
        }
        crowd
    }

    /// Waits until each stream has brought so many messages, and none has ended.
    pub fn each_receives(&self, messages: usize) {
        let mut received = 0;
        while received < self.size * messages {
            match self.events.recv_timeout(SOON) {
                Ok(Event::Messages(more)) => received += more,
                other => panic!(
                    "{received} messages on {} streams, then {other:?}",
                    self.size
                ),
            }
        }
    }

    /// Waits until all streams are over, and returns how each of them ended.
    pub fn ends(&self, within: Duration) -> Vec<Error> {
        let ends = self.timed_ends(within).into_iter();
        ends.map(|(_, end)| end).collect()
    }

    /// The same, with when this was seen.
    pub fn timed_ends(&self, within: Duration) -> Vec<(Instant, Error)> {
        let deadline = Instant::now() + within;
        let mut ends = Vec::new();
        while ends.len() < self.size {
            match self.events.recv_deadline(deadline) {
                Ok(Event::End(end)) => ends.push((Instant::now(), end)),
                Ok(Event::Live | Event::Messages(_)) => {}
                Err(_) => panic!(
                    "{} of {} were told within {within:?}",
                    ends.len(),
                    self.size
                ),
            }
        }
        ends
    }
}

/// A server stream that gives all messages before its end. grpcio tells an
/// error as soon as it knows it, before the last message, which it still gives
/// to those who ask on.
pub struct Stream<T> {
    receiver: ClientSStreamReceiver<T>,
    end: Option<RpcStatus>,
}

impl<T: Unpin> Stream<T> {
    pub fn open<Q>(client: &Client, method: &Method<Q, T>, request: &Q) -> Self {
        let receiver = client.server_streaming(method, request, CallOption::default());
        Self {
            receiver: receiver.expect("a stream"),
            end: None,
        }
    }

    /// The next message, or the status at the end.
    pub async fn next(&mut self) -> Result<T, RpcStatus> {
        loop {
            match self.receiver.next().await {
                Some(Ok(message)) => return Ok(message),
                Some(Err(grpcio::Error::RpcFailure(status))) => self.end = Some(status),
                Some(Err(error)) => panic!("{error}"),
                None => return Err(self.end.clone().unwrap_or_else(RpcStatus::ok)),
            }
        }
    }

    /// The same for an ordinary thread.
    pub fn wait(&mut self) -> Result<T, RpcStatus> {
        blocking::wait(self.next(), Some(SOON)).expect("a message or the end in time")
    }
}

/// A live ReadMessages stream, without our client's code. It does not tell that it is
/// registered: the server's thread for it is the proof.
pub fn open(server: &Program, client: &Client) -> Stream<ChatMessage> {
    let others = server.threads_named("read-");
    let stream = Stream::open(client, &wire::READ_MESSAGES, &Empty::new());
    server.wait_for_threads("read-", others + 1);
    stream
}

fn follow(client: &Client, events: Sender<Event>) {
    let mut stream = Stream::open(client, &wire::SUBSCRIBE, &SubscribeRequest::new());
    client.spawn(async move {
        loop {
            let event = match stream.next().await {
                Ok(first) if first.subscribed.is_some() => Event::Live,
                Ok(batch) => Event::Messages(batch.messages.len()),
                Err(status) => Event::End(status::from_grpc(&status)),
            };
            let over = matches!(event, Event::End(_));
            if events.send(event).is_err() || over {
                return;
            }
        }
    });
}
