//! The chat: SendMessage and ReadMessages on one ordered fan-out.

use grpcio::{RpcContext, Service, ServiceBuilder};
use protobuf::well_known_types::empty::Empty;

use crate::domain::broadcast::{Broadcast, Capacity, Wakeups};
use crate::domain::chat::Limits;
use crate::domain::clock::Timestamp;
use crate::domain::error::Error;
use crate::grpc::handler;
use crate::grpc::health::Health;
use crate::grpc::server::{self, BindError, Server};
use crate::grpc::stream::Streams;
use crate::wire::chat::{self as wire, Draft};
use crate::wire::method::Encoded;

#[derive(Clone, Debug, Default)]
pub struct Config {
    pub server: server::Config,
    pub limits: Limits,
    /// What may wait for one reader before it is cut as a slow consumer.
    pub backlog: Capacity,
}

/// A chat server that serves.
pub struct Handle {
    server: Server,
    health: Health,
    messages: Broadcast<Encoded>,
}

/// Why a chat server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Listens and serves; returns at once.
///
/// # Errors
/// [`StartError`] for a port that is taken, or no thread to be had.
pub fn start(config: &Config) -> Result<Handle, StartError> {
    let environment = server::environment(&config.server);
    let streams = Streams::new(config.server.streams, &environment)?;
    let health = Health::new(&[wire::SERVICE]);
    let messages = Broadcast::new();
    let chat = Chat {
        messages: messages.clone(),
        limits: config.limits,
        backlog: config.backlog,
    };
    let services = vec![chat.service(&streams), health.service(&streams)];
    let server = Server::start(&config.server, environment, streams, services)?;
    Ok(Handle {
        server,
        health,
        messages,
    })
}

impl Handle {
    pub fn ports(&self) -> &[u16] {
        self.server.ports()
    }

    /// NOT_SERVING, then every stream ends with UNAVAILABLE "shutting down",
    /// then the server lets go. Takes less than five seconds.
    pub fn shut_down(self) {
        self.health.shut_down();
        self.messages.close();
        self.server.shut_down();
    }
}

#[derive(Clone)]
struct Chat {
    messages: Broadcast<Encoded>,
    limits: Limits,
    backlog: Capacity,
}

impl Chat {
    fn service(&self, streams: &Streams) -> Service {
        let (sender, reader) = (self.clone(), self.clone());
        let streams = streams.clone();
        ServiceBuilder::new()
            .add_unary_handler(&wire::SEND_MESSAGE, move |ctx, request, sink| {
                let mut wakeups = Wakeups::default();
                handler::unary(&ctx, sink, || {
                    let time;
                    (time, wakeups) = sender.publish(request)?;
                    Ok(wire::response(time))
                });
                // Only now that the answer is on its way: a sender does not wait
                // until a thousand readers are told.
                drop(wakeups);
            })
            .add_server_streaming_handler(&wire::READ_MESSAGES_ENCODED, move |ctx, _, sink| {
                let acknowledgement = wants_acknowledgement(&ctx).then(wire::acknowledgement);
                streams.serve(&ctx, sink, "read", acknowledgement, || {
                    let pair = reader.messages.subscribe(reader.backlog);
                    pair.map_err(|_| shutting_down())
                });
            })
            .add_unary_handler(&wire::PROBE, |ctx, _, sink| {
                handler::unary(&ctx, sink, || Ok(Empty::new()));
            })
            .build()
    }

    fn publish(&self, request: wire::Request) -> Result<(Timestamp, Wakeups), Error> {
        self.limits.check(&request.author, &request.text)?;
        let draft = Draft::new(request.author, request.text);
        let published = self
            .messages
            .publish(Timestamp::now(), |time| draft.stamp(time));
        published.map_err(|_| shutting_down())
    }
}

fn shutting_down() -> Error {
    Error::unavailable("shutting down")
}

fn wants_acknowledgement(ctx: &RpcContext<'_>) -> bool {
    let mut headers = ctx.request_headers().iter();
    headers.any(|(name, _)| name == wire::ACK_HEADER)
}
