//! Subscribe: where a subscription begins, what its peer is told of that, and the cursor
//! with which it goes on after an end.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::order::{Joined, Later, Order};
use super::wire;
use crate::budget::{Budget, Hold};
use crate::error::{Detail, Error};
use crate::fanout::broadcast::Envelope;
use crate::fanout::clock::Timestamp;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Framing, Opening};

/// What all subscriptions to a chat have in common; clones share it.
#[derive(Clone)]
pub struct Subscriptions {
    /// For the responses that are under way.
    memory: Budget,
}

impl Subscriptions {
    /// A response of many messages may be under way as long as all of them take no more
    /// than so many bytes.
    pub fn new(response_bytes: usize) -> Self {
        let memory = Budget::new(response_bytes);
        Self { memory }
    }

    /// Opens a stream behind the place that is asked for, or with a gap where it is live.
    /// The error is INVALID_ARGUMENT for what cannot be a cursor, and UNAVAILABLE when the
    /// chat is closed.
    pub fn open(&self, order: &dyn Order, request: wire::SubscribeRequest) -> Later<Opening> {
        let after = match wire::place(request) {
            Ok(after) => after,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let hold = self.memory.hold();
        let joined = order.subscribe(after);
        let opening = joined.map(|joined| {
            let Joined { pair, epoch, start } = joined?;
            Ok(Opening {
                pair,
                first: Some(wire::subscribed(&epoch, start.position, start.gap)?),
                framing: Box::new(Batches {
                    epoch,
                    position: start.position,
                    hold,
                }),
            })
        });
        opening.boxed()
    }
}

/// As many messages in a response as wait and fit.
struct Batches {
    epoch: Arc<str>,
    /// Where the stream began.
    position: Timestamp,
    /// The bytes of the last response, until the next one.
    hold: Hold,
}

impl Framing for Batches {
    fn response(&mut self, waiting: &[Envelope<Encoded>]) -> (Encoded, usize) {
        let (response, count) = wire::batch(waiting);
        if self.hold.set(response.len()).is_ok() {
            return (response, count);
        }
        // The peers of too many large ones lag: one by one until they have caught up.
        let (response, count) = wire::batch(&waiting[..1]);
        self.hold.force(response.len());
        (response, count)
    }

    fn end(&self, mut error: Error, last: Option<Timestamp>) -> Error {
        error.detail = Some(Detail {
            name: wire::CURSOR,
            bytes: wire::cursor(&self.epoch, last.unwrap_or(self.position)),
        });
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_bound_of_all_responses_each_has_one_message() {
        let waiting: Vec<_> = (1..=5)
            .map(|nanos| {
                let time = Timestamp::from_nanos(nanos);
                let (payload, bytes) = wire::Draft::new("a".into(), "b".into()).stamp(time);
                Envelope {
                    time,
                    bytes,
                    payload,
                }
            })
            .collect();
        let all = wire::batch(&waiting).0.len();
        let memory = Budget::new(2 * all);
        let [mut first, mut second, mut third] = [(); 3].map(|()| Batches {
            epoch: "x".into(),
            position: Timestamp::default(),
            hold: memory.hold(),
        });
        assert_eq!(first.response(&waiting).1, 5);
        assert_eq!(second.response(&waiting).1, 5);
        assert_eq!(third.response(&waiting).1, 1);
        // The third goes on alone.
        drop((first, second));
        assert_eq!(third.response(&waiting[1..]).1, 4);
    }
}
