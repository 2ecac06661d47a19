//! The yardstick for our stream threads: the same C core with the same channel
//! arguments, but each stream is a task on its completion queue and no thread at
//! all, written as an expert of grpcio would. It keeps order and times, and has
//! no limits, no health service and no ordered end: it is here to be measured.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use futures_util::Sink as _;
use grpcio::{ServerStreamingSink, Service, ServiceBuilder, WriteFlags};

use crate::chat::wire::{self, Draft};
use crate::fanout::clock::{Clock, Timestamp};
use crate::grpc::method::Encoded;
use crate::grpc::server::{self, BindError, Server};
use crate::grpc::stream::Streams;
use crate::grpc::subscription;
use crate::sync::lock;

/// Listens on this port of the loopback interface, 0 for any, and serves.
///
/// # Errors
/// [`BindError`] when the port is taken, and when a thread cannot be started.
pub fn start(port: u16) -> Result<Server, Box<dyn std::error::Error>> {
    let config = server::Config {
        host: "127.0.0.1".into(),
        ports: vec![port],
        ..server::Config::default()
    };
    let environment = server::environment(&config);
    // Its streams are not used, but a server wants to wait for some at its end.
    let streams = Streams::new(0, &environment)?;
    let server = Server::start(&config, environment, streams, service());
    server.map_err(|error: BindError| error.into())
}

#[derive(Default)]
struct Room {
    clock: Clock,
    readers: Vec<Arc<Mutex<Queue>>>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Encoded>,
    waker: Option<Waker>,
}

fn service() -> Service {
    let room = Arc::new(Mutex::new(Room::default()));
    let joined = room.clone();
    ServiceBuilder::new()
        .add_unary_handler(&wire::SEND_MESSAGE, move |ctx, request, sink| {
            let mut wakers = Vec::new();
            let draft = Draft::new(request.author, request.text);
            let mut locked = lock(&room);
            let time = locked.clock.tick(Timestamp::now());
            let (message, _) = draft.stamp(time);
            for reader in &locked.readers {
                let mut queue = lock(reader);
                queue.messages.push_back(message.clone());
                wakers.extend(queue.waker.take());
            }
            drop(locked);
            let answered = sink.success(wire::response(time));
            ctx.spawn(async move { drop(answered.await) });
            wakers.into_iter().for_each(Waker::wake);
        })
        .add_server_streaming_handler(&wire::READ_MESSAGES_ENCODED, move |ctx, _, mut sink| {
            let queue = Arc::new(Mutex::new(Queue::default()));
            lock(&queue)
                .messages
                .push_back(subscription::acknowledgement());
            lock(&joined).readers.push(queue.clone());
            let (mut batch, room) = (VecDeque::new(), joined.clone());
            ctx.spawn(async move {
                poll_fn(|cx| forward(&queue, &mut batch, &mut sink, cx)).await;
                lock(&room)
                    .readers
                    .retain(|other| !Arc::ptr_eq(other, &queue));
            });
        })
        .build()
}

/// Ends when the peer has gone.
fn forward(
    queue: &Mutex<Queue>,
    batch: &mut VecDeque<Encoded>,
    sink: &mut ServerStreamingSink<Encoded>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if batch.is_empty() {
            let mut queue = lock(queue);
            std::mem::swap(batch, &mut queue.messages);
            if batch.is_empty() {
                queue.waker = Some(cx.waker().clone());
                drop(queue);
                let flushed = ready!(Pin::new(&mut *sink).poll_flush(cx));
                return if flushed.is_err() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            }
        }
        if ready!(Pin::new(&mut *sink).poll_ready(cx)).is_err() {
            return Poll::Ready(());
        }
        if let Some(message) = batch.pop_front() {
            let flags = WriteFlags::default().buffer_hint(!batch.is_empty());
            if Pin::new(&mut *sink).start_send((message, flags)).is_err() {
                return Poll::Ready(());
            }
        }
    }
}
