//! The chat's methods and messages: `mes_grpc.MessengerServer`.

use grpcio::Method;
use protobuf::well_known_types::{empty::Empty, timestamp};
use protobuf::{Message as _, MessageField};

use super::message::Message;
use crate::fanout::clock::Timestamp;
use crate::grpc::method::{self, Encoded};

pub use crate::generated::messenger::{ChatMessage, SendMessageRequest, SendMessageResponse};

/// The name under which the service is known to health checks.
pub const SERVICE: &str = "mes_grpc.MessengerServer";

pub const SEND_MESSAGE: Method<SendMessageRequest, SendMessageResponse> =
    method::unary("/mes_grpc.MessengerServer/SendMessage");

/// The metadata of SendMessage with its idempotency key.
pub const KEY_METADATA: &str = "idempotency-key";

/// Beside it, the epoch of the server that is to accept the message.
pub const EPOCH_METADATA: &str = "idempotency-epoch";

const READ: &str = "/mes_grpc.MessengerServer/ReadMessages";
pub const READ_MESSAGES: Method<Empty, ChatMessage> = method::server_stream(READ);
pub const READ_MESSAGES_ENCODED: Method<Empty, Encoded> = method::encoded_stream(READ);

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
    use crate::grpc::subscription::acknowledgement;

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

    #[test]
    fn an_empty_message_is_no_acknowledgement() {
        let (empty_but_sent, _) =
            Draft::new(String::new(), String::new()).stamp(Timestamp::from_nanos(0));
        assert!(!empty_but_sent.is_empty() && acknowledgement().is_empty());
    }
}
