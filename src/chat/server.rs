//! The chat: SendMessage, ReadMessages and Subscribe on one ordered fan-out.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::keys::{self, Keyed, Keys};
use super::message::Limits;
use super::subscribe::Subscriptions;
use super::wire;
use super::wire::Draft;
use crate::access::Right;
use crate::error::{Code, Error};
use crate::fanout::broadcast::{Broadcast, Capacity, Wakeups};
use crate::fanout::clock::Timestamp;
use crate::fanout::replay::Bound;
use crate::grpc::handler::{Methods, metadata};
use crate::grpc::host::Hosted;
use crate::grpc::meter::count_fanout;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Opening, Streams};
use crate::sync::lock;
use crate::{key, metrics};

#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    pub limits: Limits,
    /// Idempotency keys that are remembered.
    pub keys: keys::Capacity,
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
    /// Locked by sends with a key alone, around the publish: so a key that comes twice at
    /// once waits for its first answer.
    keys: Arc<Mutex<Keys>>,
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
            .unary_with(
                &wire::SEND_MESSAGE,
                Right::ChatWrite,
                |ctx| {
                    let owned = |name| metadata(ctx, name).map(<[u8]>::to_vec);
                    owned(wire::KEY_METADATA).map(|key| (key, owned(wire::EPOCH_METADATA)))
                },
                move |once, request, reply| {
                    let published = match once {
                        None => sender.publish(request).map(|(time, it)| (time, Some(it))),
                        Some((key, epoch)) => sender.publish_once(&key, epoch.as_deref(), request),
                    };
                    let (time, wakeups) = published.map_or_else(
                        |error| (Err(error), None),
                        |(time, wakeups)| (Ok(time), wakeups),
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
        metrics::add(&metrics::REPEATED, &[wire::SERVICE], 0);
        Self {
            messages,
            subscriptions: Subscriptions::new(config.backlog.together),
            keys: Arc::new(Mutex::new(Keys::new(config.keys))),
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

    /// The first answer, without wakeups, to what was sent with this key before. With an
    /// epoch only if that is this server's.
    fn publish_once(
        &self,
        key: &[u8],
        epoch: Option<&[u8]>,
        request: wire::SendMessageRequest,
    ) -> Result<(Timestamp, Option<Wakeups>), Error> {
        let key = key::checked(key)?;
        if epoch.is_some_and(|epoch| epoch != self.subscriptions.epoch().as_bytes()) {
            let other = "the server has another epoch, and does not know what was sent before";
            let reason = format!("{}: {other}", wire::EPOCH_METADATA);
            return Err(Error::new(Code::FailedPrecondition, reason));
        }
        self.config.limits.check(&request.author, &request.text)?;
        let sent = Keyed::new(key, &request.author, &request.text);
        let mut keys = lock(&self.keys);
        let now = Instant::now();
        if let Some(time) = keys.find(sent, now)? {
            metrics::add(&metrics::REPEATED, &[wire::SERVICE], 1);
            return Ok((time, None));
        }
        let (time, wakeups) = self.publish(request)?;
        keys.remember(sent, now, time);
        Ok((time, Some(wakeups)))
    }
}
