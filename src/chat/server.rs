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
use crate::trace::{self, Point, Way};
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

/// Of a send: its idempotency key, and the epoch for which alone it is meant.
type Once = (Vec<u8>, Option<Vec<u8>>);

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
                    let mut span = trace::span("publish");
                    let (time, wakeups) = match sender.publish(once, request) {
                        Ok((time, wakeups)) => (Ok(time), wakeups),
                        Err(error) => (Err(error), None),
                    };
                    let id = time.as_ref().ok().map(|time| time.nanos().cast_unsigned());
                    span.arrow(Point::Step, Way::Message, id);
                    drop(span);
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

    /// Gives a message its place. What was sent with its key before has one, and wakes
    /// nobody.
    fn publish(
        &self,
        once: Option<Once>,
        request: wire::SendMessageRequest,
    ) -> Result<(Timestamp, Option<Wakeups>), Error> {
        let wire::SendMessageRequest { author, text, .. } = request;
        self.config.limits.check(&author, &text)?;
        let keyed = once.map(|once| self.keyed(&once, &author, &text));
        let keyed = keyed.transpose()?;
        let draft = Draft::new(author, text);
        let publish = || match self
            .messages
            .publish(Timestamp::now(), |it| draft.stamp(it))
        {
            Ok((time, wakeups)) => Ok((time, Some(wakeups))),
            Err(_) => Err(Error::shutting_down()),
        };
        let Some(keyed) = keyed else { return publish() };
        let mut keys = lock(&self.keys);
        let now = Instant::now();
        if let Some(time) = keys.find(keyed, now)? {
            metrics::add(&metrics::REPEATED, &[wire::SERVICE], 1);
            return Ok((time, None));
        }
        let published = publish()?;
        keys.remember(keyed, now, published.0);
        Ok(published)
    }

    fn keyed(&self, (key, epoch): &Once, author: &str, text: &str) -> Result<Keyed, Error> {
        let key = key::checked(key)?;
        let own = self.subscriptions.epoch().as_bytes();
        if epoch.as_ref().is_some_and(|epoch| epoch != own) {
            let other = "the server has another epoch, and does not know what was sent before";
            let reason = format!("{}: {other}", wire::EPOCH_METADATA);
            return Err(Error::new(Code::FailedPrecondition, reason));
        }
        Ok(Keyed::new(key, author, text))
    }
}
