//! Subscribe: where a subscription begins, what its peer is told of that, and the cursor
//! with which it goes on after an end.

use std::sync::Arc;

use super::wire;
use crate::budget::{Budget, Hold};
use crate::error::{Detail, Error};
use crate::fanout::broadcast::{Broadcast, Envelope};
use crate::fanout::clock::Timestamp;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Framing, Opening};
use crate::key;

/// What all subscriptions to a chat have in common; clones share it.
#[derive(Clone)]
pub struct Subscriptions {
    /// Names this run of the server: a cursor of another one has no place in this order.
    epoch: Arc<str>,
    /// For the responses that are under way.
    memory: Budget,
}

impl Subscriptions {
    /// A response of many messages may be under way as long as all of them take no more
    /// than so many bytes.
    pub fn new(response_bytes: usize) -> Self {
        Self {
            epoch: key::random().into(),
            memory: Budget::new(response_bytes),
        }
    }

    /// The name of this run of the server.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Opens a stream behind the place that is asked for, or with a gap where it is live.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for what cannot be a cursor; UNAVAILABLE when the chat is closed.
    pub fn open(
        &self,
        messages: &Broadcast<Encoded>,
        request: wire::SubscribeRequest,
    ) -> Result<Opening, Error> {
        let after = wire::place(request)?;
        let of_this_run = after.as_ref().filter(|(epoch, _)| **epoch == *self.epoch);
        let resumed = messages.resume(of_this_run.map(|(_, time)| *time));
        let (pair, start) = resumed.map_err(|_closed| Error::shutting_down())?;
        let gap = start.gap || (after.is_some() && of_this_run.is_none());
        Ok(Opening {
            pair,
            first: Some(wire::subscribed(&self.epoch, start.position, gap)?),
            framing: Box::new(Batches {
                epoch: self.epoch.clone(),
                position: start.position,
                hold: self.memory.hold(),
            }),
        })
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
