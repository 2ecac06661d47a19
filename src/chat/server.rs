//! The chat: SendMessage, ReadMessages and Subscribe on one order of messages.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::message::Limits;
use super::order::{Order, Own, Sent};
use super::subscribe::Subscriptions;
use super::{keys, wire};
use crate::access::Right;
use crate::error::{Code, Error};
use crate::fanout::broadcast::Capacity;
use crate::fanout::replay::Bound;
use crate::grpc::handler::{Methods, metadata};
use crate::grpc::host::Hosted;
use crate::grpc::stream::{Opening, Streams};
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
    order: Arc<dyn Order>,
    subscriptions: Subscriptions,
    limits: Limits,
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
                move |once, request, answer| match sender.checked(once, request) {
                    // Dropped when the answer is on its way: a sender does not wait
                    // until a thousand readers are woken.
                    Ok(sent) => sender.order.publish(sent, answer),
                    Err(error) => {
                        answer.send(Err(error));
                        None
                    }
                },
            )
            .stream(
                &wire::READ_MESSAGES_ENCODED,
                Right::ChatRead,
                move |caller, _, sink| {
                    let one_by_one = |pair| Opening::one_by_one(pair, None);
                    let open = || reader.order.read().map(one_by_one);
                    read_streams.serve_when(caller, sink, "read", open);
                },
            )
            .stream(
                &wire::SUBSCRIBE_ENCODED,
                Right::ChatRead,
                move |caller, request, sink| {
                    let open = || subscriber.subscriptions.open(&*subscriber.order, request);
                    streams.serve_when(caller, sink, "subscribe", open);
                },
            )
    }

    fn close(&self) {
        self.order.close();
    }
}

impl Chat {
    /// Alone, with all in memory.
    pub fn new(config: Config) -> Self {
        let own = Own::new(config.backlog, config.replay, config.keys);
        Self::on(Arc::new(own), config)
    }

    /// On this order.
    pub fn on(order: Arc<dyn Order>, config: Config) -> Self {
        metrics::add(&metrics::REPEATED, &[wire::SERVICE], 0);
        Self {
            order,
            subscriptions: Subscriptions::new(config.backlog.together),
            limits: config.limits,
        }
    }

    fn checked(
        &self,
        once: Option<Once>,
        request: wire::SendMessageRequest,
    ) -> Result<Sent, Error> {
        let wire::SendMessageRequest { author, text, .. } = request;
        self.limits.check(&author, &text)?;
        let key = once.map(|once| self.checked_key(&once)).transpose()?;
        Ok(Sent { author, text, key })
    }

    fn checked_key(&self, (key, epoch): &Once) -> Result<String, Error> {
        let key = key::checked(key)?;
        if !epoch.as_ref().is_none_or(|epoch| self.order.knows(epoch)) {
            let other = "the server has another epoch, and does not know what was sent before";
            let reason = format!("{}: {other}", wire::EPOCH_METADATA);
            return Err(Error::new(Code::FailedPrecondition, reason));
        }
        Ok(key.to_owned())
    }
}
