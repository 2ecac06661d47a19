//! The chat's methods and messages: `mes_grpc.MessengerServer`, and `messenger.v1.Chat`.

use grpcio::Method;
use protobuf::well_known_types::{empty::Empty, timestamp};
use protobuf::{CodedOutputStream, Message as _, MessageField, rt};

use super::message::Message;
use crate::error::{Code, Error, at_most};
use crate::fanout::broadcast::Envelope;
use crate::fanout::clock::Timestamp;
use crate::grpc::method::{self, Encoded};

pub use crate::generated::messenger::{ChatMessage, SendMessageRequest, SendMessageResponse};
pub use crate::generated::subscribe::{Cursor, SubscribeRequest, SubscribeResponse, Subscribed};

/// The names under which the services are known to health checks.
pub const SERVICE: &str = "mes_grpc.MessengerServer";
pub const SUBSCRIBE_SERVICE: &str = "messenger.v1.Chat";

pub const SEND_MESSAGE: Method<SendMessageRequest, SendMessageResponse> =
    method::unary("/mes_grpc.MessengerServer/SendMessage");

/// The metadata of SendMessage with its idempotency key.
pub const KEY_METADATA: &str = "idempotency-key";

/// Beside it, the epoch of the server that is to accept the message.
pub const EPOCH_METADATA: &str = "idempotency-epoch";

const READ: &str = "/mes_grpc.MessengerServer/ReadMessages";
pub const READ_MESSAGES: Method<Empty, ChatMessage> = method::server_stream(READ);
pub const READ_MESSAGES_ENCODED: Method<Empty, Encoded> = method::encoded_stream(READ);

const SUBSCRIBE_NAME: &str = "/messenger.v1.Chat/Subscribe";
pub const SUBSCRIBE: Method<SubscribeRequest, SubscribeResponse> =
    method::server_stream(SUBSCRIBE_NAME);
pub const SUBSCRIBE_ENCODED: Method<SubscribeRequest, Encoded> =
    method::encoded_stream(SUBSCRIBE_NAME);

/// The type that says in a status where to go on.
pub const CURSOR: &str = "messenger.v1.Cursor";

/// The longest name of an epoch, in bytes.
const EPOCH_BYTES: usize = 64;

/// The most that one response carries, in messages and in bytes; but one message always.
pub const BATCH_MESSAGES: usize = 1024;
pub const BATCH_BYTES: usize = 256 * 1024;

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
    SubscribeRequest {
        after: after
            .map(|(epoch, time)| cursor_to_wire(epoch, time))
            .into(),
        ..Default::default()
    }
}

/// Epoch and time of where a subscription begins, and whether there is a gap before it.
///
/// # Errors
/// INTERNAL for a response that does not say so.
pub fn beginning(first: &SubscribeResponse) -> Result<(&str, Timestamp, bool), Error> {
    let missing = "the server sent messages before it confirmed the subscription";
    let missing = || Error::new(Code::Internal, missing);
    let subscribed = first.subscribed.as_ref().ok_or_else(missing)?;
    let (position, gap) = (&subscribed.position, subscribed.gap);
    Ok((&position.epoch, time_from_wire(&position.send_time), gap))
}

/// The epoch and the time behind which a subscription is to begin, if any.
///
/// # Errors
/// `InvalidArgument` that names the field.
pub fn place(request: SubscribeRequest) -> Result<Option<(String, Timestamp)>, Error> {
    let Some(Cursor {
        epoch, send_time, ..
    }) = request.after.into_option()
    else {
        return Ok(None);
    };
    if epoch.is_empty() {
        let range = format!("has to be of 1 to {EPOCH_BYTES} bytes");
        return Err(Error::invalid(format!(
            "after.epoch: is empty, and {range}"
        )));
    }
    at_most("after.epoch", &epoch, EPOCH_BYTES)?;
    let Some(time) = send_time.as_ref() else {
        return Err(Error::invalid(
            "after.send_time: is missing from the cursor",
        ));
    };
    // From the year 1 to the end of 9999, as timestamp.proto has it.
    in_range("seconds", time.seconds, -62_135_596_800, 253_402_300_799)?;
    in_range("nanos", time.nanos.into(), 0, 999_999_999)?;
    Ok(Some((epoch, time_from_wire(time))))
}

fn in_range(field: &str, value: i64, least: i64, most: i64) -> Result<(), Error> {
    let error = || format!("after.send_time.{field}: {value} is not in {least} to {most}");
    let fits = (least..=most).contains(&value);
    fits.then_some(()).ok_or_else(|| Error::invalid(error()))
}

/// The first response of a subscription.
///
/// # Errors
/// As [`Encoded::message`].
pub fn subscribed(epoch: &str, position: Timestamp, gap: bool) -> Result<Encoded, Error> {
    let subscribed = Subscribed {
        position: MessageField::some(cursor_to_wire(epoch, position)),
        gap,
        ..Default::default()
    };
    Encoded::message(&SubscribeResponse {
        subscribed: MessageField::some(subscribed),
        ..Default::default()
    })
}

/// A cursor, encoded.
pub fn cursor(epoch: &str, time: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&cursor_to_wire(epoch, time), &mut bytes);
    bytes
}

fn cursor_to_wire(epoch: &str, time: Timestamp) -> Cursor {
    Cursor {
        epoch: epoch.into(),
        send_time: time_to_wire(time),
        ..Default::default()
    }
}

/// A response with the first of these messages, as many as fit and at least one; and how
/// many. They are encoded already: elements of a repeated field stand one behind the
/// other, each as its tag, its length and its bytes.
/// Source: <https://protobuf.dev/programming-guides/encoding/#repeated>
pub fn batch(waiting: &[Envelope<Encoded>]) -> (Encoded, usize) {
    const MESSAGES: u32 = 2;
    let (mut count, mut size) = (0, 0);
    for envelope in waiting.iter().take(BATCH_MESSAGES) {
        let more = rt::bytes_size(MESSAGES, envelope.payload.as_bytes()) as usize;
        if count > 0 && size + more > BATCH_BYTES {
            break;
        }
        count += 1;
        size += more;
    }
    // Of exactly this size, it is not copied once more.
    let mut response = Vec::with_capacity(size);
    let mut out = CodedOutputStream::vec(&mut response);
    for envelope in &waiting[..count] {
        let written = out.write_bytes(MESSAGES, envelope.payload.as_bytes());
        written.expect("room for what was measured");
    }
    drop(out);
    (Encoded::new(response), count)
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
