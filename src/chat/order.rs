//! What gives messages their one order, and subscribers their place in it: the fan-out of
//! this process, or one that several servers share (`shared`).

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::keys::{self, Keyed, Keys};
use super::wire;
use crate::error::Error;
use crate::fanout::broadcast::{Broadcast, Capacity, Start, Wakeups};
use crate::fanout::clock::Timestamp;
use crate::fanout::replay::Bound;
use crate::grpc::handler::Reply;
use crate::grpc::meter::count_fanout;
use crate::grpc::method::Encoded;
use crate::grpc::stream::Pair;
use crate::sync::lock;
use crate::trace::{self, Point, Way};
use crate::{key, metrics};

/// A message within the limits, to be sent.
pub struct Sent {
    pub author: String,
    pub text: String,
    /// Its idempotency key, checked.
    pub key: Option<String>,
}

/// The answer to a message that was sent.
pub type Answer = Reply<wire::SendMessageResponse>;

/// A subscription, and its place.
pub struct Joined {
    pub pair: Pair,
    pub epoch: Arc<str>,
    pub start: Start,
}

/// Epoch and time behind which a subscription begins, from now on without.
pub type After = Option<(String, Timestamp)>;

/// Done at once, or later.
pub type Later<T> = BoxFuture<'static, Result<T, Error>>;

/// One order of messages. Called on completion-queue threads: nothing here blocks.
pub trait Order: Send + Sync {
    /// Names the order now: a cursor of another epoch may have no place in it.
    fn epoch(&self) -> Arc<str>;

    /// Whether keys are known that were sent in this epoch.
    fn knows(&self, epoch: &[u8]) -> bool {
        *epoch == *self.epoch().as_bytes()
    }

    /// Gives a message its place, and answers, now or later. Readers wait until what is
    /// returned is dropped. What was sent with its key before has a place.
    fn publish(&self, sent: Sent, answer: Answer) -> Option<Wakeups>;

    /// Adds a reader of what comes from now on.
    fn read(&self) -> Later<Pair>;

    /// Adds a subscriber, which gets all that came behind the place, or is told of a gap.
    fn subscribe(&self, after: After) -> Later<Joined>;

    /// Ends all subscriptions, and refuses what comes later.
    fn close(&self);
}

/// The order of this process alone, in memory.
pub struct Own {
    messages: Broadcast<Encoded>,
    /// Names this run of the server.
    epoch: Arc<str>,
    /// Locked by sends with a key alone, around the publish: so a key that comes twice at
    /// once waits for its first answer.
    keys: Mutex<Keys>,
}

impl Own {
    pub fn new(backlog: Capacity, replay: Bound, keys: keys::Capacity) -> Self {
        let messages = Broadcast::with_replay(backlog, replay);
        count_fanout(wire::SERVICE, &messages);
        Self {
            messages,
            epoch: key::random().into(),
            keys: Mutex::new(Keys::new(keys)),
        }
    }

    /// What was sent with its key before wakes nobody.
    fn place(&self, sent: Sent) -> Result<(Timestamp, Option<Wakeups>), Error> {
        let Sent { author, text, key } = sent;
        let keyed = key.map(|key| Keyed::new(&key, &author, &text));
        let draft = wire::Draft::new(author, text);
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
}

impl Order for Own {
    fn epoch(&self) -> Arc<str> {
        self.epoch.clone()
    }

    fn publish(&self, sent: Sent, answer: Answer) -> Option<Wakeups> {
        let mut span = trace::span("publish");
        let (time, wakeups) = match self.place(sent) {
            Ok((time, wakeups)) => (Ok(time), wakeups),
            Err(error) => (Err(error), None),
        };
        let id = time.as_ref().ok().map(|time| time.nanos().cast_unsigned());
        span.arrow(Point::Step, Way::Message, id);
        drop(span);
        answer.send(time.map(wire::response));
        wakeups
    }

    fn read(&self) -> Later<Pair> {
        let pair = self.messages.subscribe();
        ready(pair.map_err(Error::from)).boxed()
    }

    fn subscribe(&self, after: After) -> Later<Joined> {
        let of_this_run = after.as_ref().filter(|(epoch, _)| **epoch == *self.epoch);
        let joined = self.messages.resume(of_this_run.map(|(_, time)| *time));
        let joined = joined.map(|(pair, mut start)| {
            start.gap |= after.is_some() && of_this_run.is_none();
            Joined {
                pair,
                epoch: self.epoch.clone(),
                start,
            }
        });
        ready(joined.map_err(Error::from)).boxed()
    }

    fn close(&self) {
        self.messages.close();
    }
}
