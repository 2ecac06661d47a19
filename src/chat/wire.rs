//! The chat's methods and messages: `mes_grpc.MessengerServer`.

use grpcio::Method;
use protobuf::well_known_types::{empty::Empty, timestamp};
use protobuf::{Message as _, MessageField};

use super::message::Message;
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::grpc::method::{self, Encoded};

pub use crate::generated::messenger::{ChatMessage, SendMessageRequest, SendMessageResponse};
pub use crate::generated::subscribe::{Cursor, SubscribeRequest, SubscribeResponse};

/// The name under which the service is known to health checks.
pub const SERVICE: &str = "mes_grpc.MessengerServer";

pub const SEND_MESSAGE: Method<SendMessageRequest, SendMessageResponse> =
    method::unary("/mes_grpc.MessengerServer/SendMessage");

const READ: &str = "/mes_grpc.MessengerServer/ReadMessages";
pub const READ_MESSAGES: Method<Empty, ChatMessage> = method::server_stream(READ);
pub const READ_MESSAGES_ENCODED: Method<Empty, Encoded> = method::encoded_stream(READ);

pub const SUBSCRIBE: Method<SubscribeRequest, SubscribeResponse> =
    method::server_stream("/messenger.v1.Chat/Subscribe");

/// A message that only lacks its time.
pub struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    /// Encodes author and text.
    pub fn new(author: String, text: String) -> Self {
        let message = ChatMessage {
            author,
            text,
            ..Default::default()
        };
        let mut bytes = Vec::with_capacity(message.compute_size() as usize + TIME_BYTES);
        append(&message, &mut bytes);
        Self { bytes }
    }

    /// Adds the time; to be called inside the fan-out's critical section. Two
    /// encodings one behind the other are the encoding of the merged message.
    /// Source: <https://protobuf.dev/programming-guides/encoding/#last-one-wins>
    pub fn stamp(mut self, time: Timestamp) -> (Encoded, usize) {
        let message = ChatMessage {
            send_time: time_to_wire(time),
            ..Default::default()
        };
        append(&message, &mut self.bytes);
        let encoded = Encoded::new(self.bytes);
        let bytes = encoded.len();
        (encoded, bytes)
    }
}

/// Two tags, two lengths or values: what a time takes at most, rounded up.
const TIME_BYTES: usize = 24;

fn append(message: &impl protobuf::Message, bytes: &mut Vec<u8>) {
    message
        .write_to_vec(bytes)
        .expect("a message without required fields always encodes");
}

pub fn response(time: Timestamp) -> SendMessageResponse {
    SendMessageResponse {
        send_time: time_to_wire(time),
        ..Default::default()
    }
}

/// The time in a SendMessage answer; a missing one reads as 1970, as in proto3.
pub fn response_time(response: &SendMessageResponse) -> Timestamp {
    time_from_wire(&response.send_time)
}

/// A message from the stream.
pub fn message(wire: ChatMessage) -> Message {
    Message {
        send_time: time_from_wire(&wire.send_time),
        author: wire.author,
        text: wire.text,
    }
}

/// The request for all that comes after this place, or from now on.
pub fn subscribe_request(after: Option<(&str, Timestamp)>) -> SubscribeRequest {
    let after = after.map(|(epoch, time)| Cursor {
        epoch: epoch.into(),
        send_time: time_to_wire(time),
        ..Default::default()
    });
    SubscribeRequest {
        after: after.into(),
        ..Default::default()
    }
}

/// Epoch and time of where a subscription begins, and whether there is a gap before it.
///
/// # Errors
/// INTERNAL for a response that does not say so.
pub fn beginning(first: &SubscribeResponse) -> Result<(&str, Timestamp, bool), Error> {
    let missing = || {
        let what = "the server sent messages before it confirmed the subscription";
        Error::new(Code::Internal, what)
    };
    let subscribed = first.subscribed.as_ref().ok_or_else(missing)?;
    let (position, gap) = (&subscribed.position, subscribed.gap);
    Ok((&position.epoch, time_from_wire(&position.send_time), gap))
}

fn time_to_wire(time: Timestamp) -> MessageField<timestamp::Timestamp> {
    let (seconds, nanos) = time.parts();
    MessageField::some(timestamp::Timestamp {
        seconds,
        nanos,
        ..Default::default()
    })
}

fn time_from_wire(time: &timestamp::Timestamp) -> Timestamp {
    Timestamp::from_parts(time.seconds, time.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_draft_is_an_ordinary_message() {
        let time = Timestamp::from_nanos(1_767_323_045_123_456_789);
        let mut bytes = Draft::new("автор".into(), "text".into()).bytes;
        append(
            &ChatMessage {
                send_time: time_to_wire(time),
                ..Default::default()
            },
            &mut bytes,
        );
        let parsed = ChatMessage::parse_from_bytes(&bytes).unwrap();
        let whole = ChatMessage {
            author: "автор".into(),
            text: "text".into(),
            send_time: time_to_wire(time),
            ..Default::default()
        };
        assert_eq!(parsed, whole);
        assert_eq!(bytes, whole.write_to_bytes().unwrap());
        let (_, size) = Draft::new("автор".into(), "text".into()).stamp(time);
        assert_eq!(size, bytes.len());
    }
}
