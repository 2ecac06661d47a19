//! The chat server of proto/messenger.proto on tokio and tonic.
//!
//! One lock gives every message its time and puts it, encoded once, on the queue
//! of every subscriber; the subscribers that wait are woken after the lock.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes};
use prost_types::Timestamp;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstDecoder;

#[allow(clippy::default_constructed_unit_structs)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mes_grpc.MessengerServer.rs"));
}
use generated::messenger_server_server::{MessengerServer, MessengerServerServer};

const AUTHOR_BYTES: usize = 256;
const TEXT_BYTES: usize = 256 * 1024;
const RECEIVE_BYTES: usize = 512 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What may wait for one subscriber.
const QUEUE_MESSAGES: usize = 8192;
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// What a stream takes from its queue at once; it counts no more then.
const BATCH: usize = 256;

#[derive(Clone, PartialEq, prost::Message)]
struct SendMessageRequest {
    #[prost(string, tag = "1")]
    author: String,
    #[prost(string, tag = "2")]
    text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SendMessageResponse {
    #[prost(message, optional, tag = "1")]
    send_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ChatMessage {
    #[prost(string, tag = "1")]
    author: String,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(message, optional, tag = "3")]
    send_time: Option<Timestamp>,
}

/// google.protobuf.Empty.
type Empty = ();

/// Two tags, two lengths or values: what a send_time takes at most, rounded up.
const TIME_BYTES: usize = 24;

/// ReadMessages: a request is empty, and its answers are encoded already.
#[derive(Default)]
struct EncodedCodec;
struct EncodedEncoder;

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = Empty;
    type Encoder = EncodedEncoder;
    type Decoder = ProstDecoder<Empty>;

    fn encoder(&mut self) -> Self::Encoder {
        EncodedEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for EncodedEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.len());
        buf.put_slice(&item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// Handles to one ordered fan-out.
#[derive(Clone, Default)]
struct Chat(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last send_time, in nanoseconds since 1970.
    last_time: i64,
    next_id: u64,
    /// In rising order of their ids.
    subscribers: Vec<(u64, Arc<Mutex<Queue>>)>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    waker: Option<Waker>,
    /// It was full once, and takes no more.
    cut: bool,
}

impl Queue {
    /// Returns false if the queue takes no more.
    fn push(&mut self, message: &Bytes) -> bool {
        self.bytes += message.len();
        if self.messages.len() == QUEUE_MESSAGES || self.bytes > QUEUE_BYTES {
            self.messages = VecDeque::new();
            self.cut = true;
        } else {
            self.messages.push_back(message.clone());
        }
        !self.cut
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn at_most(field: &str, value: &str, limit: usize) -> Result<(), Status> {
    if value.len() <= limit {
        return Ok(());
    }
    let text = format!("{field}: {} bytes, the limit is {limit}", value.len());
    Err(Status::invalid_argument(text))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as i64)
}

#[tonic::async_trait]
impl MessengerServer for Chat {
    type ReadMessagesStream = Subscription;

    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let SendMessageRequest { author, text } = request.into_inner();
        at_most("author", &author, AUTHOR_BYTES)?;
        at_most("text", &text, TEXT_BYTES)?;
        let mut message = ChatMessage {
            author,
            text,
            send_time: None,
        };
        let mut bytes = Vec::with_capacity(message.encoded_len() + TIME_BYTES);
        message.encode_raw(&mut bytes);
        message.clear();

        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.0);
            let time = now().max(state.last_time.saturating_add(1));
            state.last_time = time;
            message.send_time = Some(Timestamp {
                seconds: time.div_euclid(1_000_000_000),
                nanos: time.rem_euclid(1_000_000_000) as i32,
            });
            // Two encodings one behind the other are that of the merged message.
            message.encode_raw(&mut bytes);
            let bytes = Bytes::from(bytes);
            state.subscribers.retain(|(_, queue)| {
                let mut queue = lock(queue);
                wakers.extend(queue.waker.take());
                queue.push(&bytes)
            });
        }
        wakers.into_iter().for_each(Waker::wake);
        let send_time = message.send_time;
        Ok(Response::new(SendMessageResponse { send_time }))
    }

    async fn read_messages(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ReadMessagesStream>, Status> {
        let queue = Arc::new(Mutex::new(Queue::default()));
        let mut state = lock(&self.0);
        let id = state.next_id;
        state.next_id += 1;
        state.subscribers.push((id, queue.clone()));
        Ok(Response::new(Subscription {
            chat: self.clone(),
            id,
            queue,
            batch: VecDeque::new(),
            gathered: false,
        }))
    }
}

/// The stream of one ReadMessages call.
struct Subscription {
    chat: Chat,
    id: u64,
    queue: Arc<Mutex<Queue>>,
    /// Taken from the queue, not yet taken by tonic, which puts what is ready
    /// into one frame up to 32 KiB.
    batch: VecDeque<Bytes>,
    /// It had its turn to wait for company since the queue was last empty.
    gathered: bool,
}

impl Stream for Subscription {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(message) = this.batch.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        let mut queue = lock(&this.queue);
        if queue.cut {
            let text = "slow consumer: the backlog is full";
            return Poll::Ready(Some(Err(Status::resource_exhausted(text))));
        }
        let count = queue.messages.len().min(BATCH);
        if count == 0 {
            this.gathered = false;
            match &mut queue.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        if !this.gathered {
            // Once round the scheduler's queue: what is published meanwhile joins
            // the batch. A quarter of the CPU time at 100 readers, and an idle
            // server loses nothing by it.
            this.gathered = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.batch.extend(queue.messages.drain(..count));
        queue.bytes -= this.batch.iter().map(Bytes::len).sum::<usize>();
        Poll::Ready(this.batch.pop_front().map(Ok))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = lock(&self.chat.0);
        let at = state.subscribers.binary_search_by_key(&self.id, |s| s.0);
        if let Ok(at) = at {
            state.subscribers.remove(at);
        }
    }
}

/// As many worker threads as there are cores.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = match std::env::var("MESSENGER_SERVER_PORT") {
        Ok(port) => port
            .parse()
            .map_err(|e| format!("MESSENGER_SERVER_PORT: {e}"))?,
        Err(_) => 51075,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // With the usual backlog of 128, a crowd that connects waits for seconds.
    let listener = socket.listen(4096)?;
    let address = listener.local_addr()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    // Whether anybody reads this is nothing to fail for.
    let _ = writeln!(std::io::stdout(), "tonic listening on {address}");
    let service =
        MessengerServerServer::new(Chat::default()).max_decoding_message_size(RECEIVE_BYTES);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .serve_with_incoming(service, incoming);
    // Open streams break off at a signal: the runtime drops them.
    tokio::select! {
        ended = server => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
