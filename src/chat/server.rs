//! The chat: SendMessage, ReadMessages and Subscribe on one ordered fan-out.

use super::message::Limits;
use super::subscribe::Subscriptions;
use super::wire;
use super::wire::Draft;
use crate::access::Right;
use crate::error::Error;
use crate::fanout::broadcast::{Broadcast, Capacity, Wakeups};
use crate::fanout::clock::Timestamp;
use crate::fanout::replay::Bound;
use crate::grpc::handler::Methods;
use crate::grpc::host::Hosted;
use crate::grpc::meter::count_fanout;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Opening, Streams};

#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    pub limits: Limits,
    /// Backlog of one reader, over which it is cut as a slow consumer.
    pub backlog: Capacity,
    /// What is kept for subscribers that come back.
    pub replay: Bound,
}

/// The chat, to be hosted; clones share it.
#[derive(Clone)]
pub struct Chat {
    messages: Broadcast<Encoded>,
    subscriptions: Subscriptions,
    config: Config,
}

impl Hosted for Chat {
    fn names(&self) -> &'static [&'static str] {
        &[wire::SERVICE, wire::SUBSCRIBE_SERVICE]
    }

    fn register(&self, methods: Methods, streams: &Streams) -> Methods {
        let (sender, reader, subscriber) = (self.clone(), self.clone(), self.clone());
        let (read_streams, streams) = (streams.clone(), streams.clone());
        methods
            .unary(
                &wire::SEND_MESSAGE,
                Right::ChatWrite,
                move |request, reply| {
                    let published = sender.publish(request);
                    let (time, wakeups) = published.map_or_else(
                        |error| (Err(error), None),
                        |(time, wakeups)| (Ok(time), Some(wakeups)),
                    );
                    reply.send(time.map(wire::response));
                    // Dropped when the answer is on its way: a sender does not wait
                    // until a thousand readers are woken.
                    wakeups
                },
            )
            .stream(
                &wire::READ_MESSAGES_ENCODED,
                Right::ChatRead,
                move |caller, _, sink| {
                    read_streams.serve(caller, sink, "read", || {
                        Opening::one_by_one(reader.messages.subscribe(), None)
                    });
                },
            )
            .stream(
                &wire::SUBSCRIBE_ENCODED,
                Right::ChatRead,
                move |caller, request, sink| {
                    let open = || subscriber.subscriptions.open(&subscriber.messages, request);
                    streams.serve(caller, sink, "subscribe", open);
                },
            )
    }

    fn close(&self) {
        self.messages.close();
    }
}

impl Chat {
    pub fn new(config: Config) -> Self {
        let messages = Broadcast::with_replay(config.backlog, config.replay);
        count_fanout(wire::SERVICE, &messages);
        Self {
            messages,
            subscriptions: Subscriptions::new(config.backlog.together),
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
