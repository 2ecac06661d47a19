//! The chat: SendMessage and ReadMessages on one ordered fan-out.

use grpcio::{Service, ServiceBuilder};

use super::message::Limits;
use super::wire;
use super::wire::Draft;
use crate::error::Error;
use crate::fanout::broadcast::{Broadcast, Capacity, Wakeups};
use crate::fanout::clock::Timestamp;
use crate::grpc::handler;
use crate::grpc::host::Hosted;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Streams, acknowledgement};

#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    pub limits: Limits,
    /// What may wait for one reader before it is cut as a slow consumer.
    pub backlog: Capacity,
}

/// The chat, to be hosted; clones share it.
#[derive(Clone)]
pub struct Chat {
    messages: Broadcast<Encoded>,
    config: Config,
}

impl Hosted for Chat {
    fn name(&self) -> &'static str {
        wire::SERVICE
    }

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
                streams.serve(&ctx, sink, "read", acknowledgement(&ctx), || {
                    let pair = reader.messages.subscribe(reader.config.backlog);
                    pair.map_err(|_| Error::shutting_down())
                });
            })
            .build()
    }

    fn close(&self) {
        self.messages.close();
    }
}

impl Chat {
    pub fn new(config: Config) -> Self {
        Self {
            messages: Broadcast::new(),
            config,
        }
    }

    fn publish(&self, request: wire::SendMessageRequest) -> Result<(Timestamp, Wakeups), Error> {
        self.config.limits.check(&request.author, &request.text)?;
        let draft = Draft::new(request.author, request.text);
        let published = self
            .messages
            .publish(Timestamp::now(), |time| draft.stamp(time));
        published.map_err(|_| Error::shutting_down())
    }
}
