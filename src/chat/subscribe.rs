//! Subscribe: where a subscription begins, what its peer is told of that, and the cursor
//! with which it goes on after an end.

use std::sync::Arc;

use super::wire;
use crate::error::{Detail, Error};
use crate::fanout::broadcast::{Broadcast, Envelope};
use crate::fanout::clock::Timestamp;
use crate::grpc::method::Encoded;
use crate::grpc::stream::{Framing, Opening};
use crate::key;

/// Names one run of a server: a cursor of another one has no place in this order.
#[derive(Clone)]
pub struct Epoch(Arc<str>);

impl Epoch {
    pub fn random() -> Self {
        Self(key::random().into())
    }

    /// Whether this is its name.
    pub fn is(&self, name: impl AsRef<[u8]>) -> bool {
        name.as_ref() == self.0.as_bytes()
    }
}

/// Opens a stream behind the place that is asked for, or with a gap where it is live.
///
/// # Errors
/// INVALID_ARGUMENT for what cannot be a cursor; UNAVAILABLE when the chat is closed.
pub fn open(
    messages: &Broadcast<Encoded>,
    epoch: &Epoch,
    request: wire::SubscribeRequest,
) -> Result<Opening, Error> {
    let after = wire::place(request)?;
    let of_this_run = after.as_ref().filter(|(of, _)| epoch.is(of));
    let resumed = messages.resume(of_this_run.map(|(_, time)| *time));
    let (pair, start) = resumed.map_err(|_closed| Error::shutting_down())?;
    let gap = start.gap || (after.is_some() && of_this_run.is_none());
    Ok(Opening {
        pair,
        first: Some(wire::subscribed(&epoch.0, start.position, gap)?),
        framing: Box::new(Batches {
            epoch: epoch.clone(),
            position: start.position,
        }),
    })
}

/// As many messages in a response as wait and fit.
struct Batches {
    epoch: Epoch,
    /// Where the stream began.
    position: Timestamp,
}

impl Framing for Batches {
    fn response(&mut self, waiting: &[Envelope<Encoded>]) -> (Encoded, usize) {
        wire::batch(waiting)
    }

    fn end(&self, mut error: Error, last: Option<Timestamp>) -> Error {
        error.detail = Some(Detail {
            name: wire::CURSOR,
            bytes: wire::cursor(&self.epoch.0, last.unwrap_or(self.position)),
        });
        error
    }
}
