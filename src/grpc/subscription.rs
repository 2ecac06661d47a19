//! Acknowledged subscriptions: how our clients know that a stream is live.

use grpcio::Method;
use protobuf::Message;
use protobuf::well_known_types::empty::Empty;

use super::method::{self, Encoded};

/// Our extension, which other servers answer with UNIMPLEMENTED. A server that
/// answers OK acknowledges each server stream that is asked for with
/// [`ACK_HEADER`] by an empty first message, sent once the subscription is
/// registered: from then on the stream misses nothing. The Python servers send
/// nothing before the first message, so their clients cannot know.
pub const PROBE: Method<Empty, Empty> = method::unary("/messenger.Subscriptions/Probe");
pub const ACK_HEADER: &str = "messenger-ack";

/// The acknowledgement: a message with no field set.
pub fn acknowledgement() -> Encoded {
    Encoded::new(Vec::new())
}

/// Whether a message is the acknowledgement; only the first of a stream may be.
pub fn is_acknowledgement<M: Message>(message: &M) -> bool {
    *message == M::default()
}
