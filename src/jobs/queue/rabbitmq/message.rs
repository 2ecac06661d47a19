//! Messages as RabbitMQ carries them: properties and headers.

use std::io;

use amq_protocol::frame::parsing::parse_content_header;
use amq_protocol::protocol::basic::gen_properties;
use amq_protocol::types::parsing::parse_field_table;
use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::fanout::clock::Timestamp;
use crate::jobs::queue::{DeadLetter, Outgoing};

/// When the task was sent, in nanoseconds since 1970; AMQP's own timestamp has
/// only seconds.
const QUEUED_AT: &str = "x-messenger-queued-at";
/// Why a task is dead, and after how many attempts.
const REASON: &str = "x-messenger-reason";
const ATTEMPTS: &str = "x-messenger-attempts";

/// The longest reason in a header.
const REASON_CHARACTERS: usize = 1000;

/// What a header frame has beside the properties: type, channel, size, class, weight, the
/// body's size, and its end.
const HEADER_FRAME: usize = 20;

/// Written to the broker's disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Those of a new task.
pub fn properties(task: &Outgoing) -> BasicProperties {
    let mut headers = FieldTable::default();
    let nanos = AMQPValue::LongLongInt(task.queued_at.nanos());
    headers.insert(QUEUED_AT.into(), nanos);
    let (seconds, _) = task.queued_at.parts();
    // Our own ids are short enough; any other would go without.
    let id = ShortString::try_new(task.id.clone()).unwrap_or_default();
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id)
        .with_timestamp(u64::try_from(seconds).unwrap_or_default())
        .with_headers(headers)
}

/// Those of a dead letter: as its message's producer set them, and the reason. They have to
/// fit into a frame of this size, so the headers of a producer that leaves no room go.
pub fn dead_letter_properties(
    properties: &BasicProperties,
    dead: &DeadLetter,
    frame: u32,
) -> BasicProperties {
    let id = ShortString::try_new(dead.id.clone().unwrap_or_default()).unwrap_or_default();
    let with = |properties: &BasicProperties, note: &str| {
        let reason = note.chars().chain(dead.reason.chars());
        let reason: String = reason.take(REASON_CHARACTERS).collect();
        let reason = AMQPValue::LongString(LongString::from(reason));
        let attempts = AMQPValue::LongLongInt(dead.attempts.into());
        let more = [(REASON, reason), (ATTEMPTS, attempts)];
        again(properties, more).with_message_id(id.clone())
    };
    let whole = with(properties, "");
    let size = gen_properties(&whole)(Vec::new().into()).map(|it| it.into_inner().0.len());
    if size.is_ok_and(|size| size + HEADER_FRAME <= frame as usize) {
        return whole;
    }
    let without = properties.clone().with_headers(FieldTable::default());
    with(&without, "(without its headers, which fill a frame) ")
}

/// Those of a dead letter that is requeued: without the reason.
pub fn requeue_properties(properties: &BasicProperties) -> BasicProperties {
    again(properties, [])
}

/// Those of a message that is written again, as its producer set them. Without the user,
/// as whom the broker lets its producer alone write; without the expiration, which would
/// remove it from that queue too; without the header of more queues, and our own.
fn again<const N: usize>(
    properties: &BasicProperties,
    more: [(&str, AMQPValue); N],
) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if ![REASON, ATTEMPTS, "CC", "BCC"].contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in more {
        headers.insert(name.into(), value);
    }
    let mut kept = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    // None of them can be removed from those that there are.
    macro_rules! keep {
        ($($field:ident $with:ident),*) => {
            $(if let Some(value) = properties.$field().clone() { kept = kept.$with(value); })*
        };
    }
    keep!(
        content_type with_content_type,
        content_encoding with_content_encoding,
        priority with_priority,
        correlation_id with_correlation_id,
        reply_to with_reply_to,
        message_id with_message_id,
        timestamp with_timestamp,
        kind with_type,
        app_id with_app_id
    );
    kept
}

/// The message's id; an empty one is none.
pub fn id(properties: &BasicProperties) -> Option<String> {
    let id = properties.message_id().as_ref()?.as_str();
    (!id.is_empty()).then(|| id.to_owned())
}

/// When it was sent, if its producer said.
pub fn queued_at(properties: &BasicProperties) -> Option<Timestamp> {
    if let Some(AMQPValue::LongLongInt(nanos)) = header(properties, QUEUED_AT) {
        return Some(Timestamp::from_nanos(*nanos));
    }
    let seconds = i64::try_from((*properties.timestamp())?).ok()?;
    Some(Timestamp::from_parts(seconds, 0))
}

/// A message in the dead-letter queue, whoever put it there.
pub fn dead_letter(message: &Message) -> DeadLetter {
    let reason = match header(&message.properties, REASON) {
        Some(AMQPValue::LongString(reason)) => {
            String::from_utf8_lossy(reason.as_bytes()).into_owned()
        }
        _ => String::new(),
    };
    let attempts = match header(&message.properties, ATTEMPTS) {
        Some(AMQPValue::LongLongInt(attempts)) => u32::try_from(*attempts).unwrap_or_default(),
        _ => 0,
    };
    DeadLetter {
        id: id(&message.properties),
        body: message.data.clone(),
        reason,
        attempts,
    }
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// These bytes of a frame.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
    found.ok_or_else(|| io::Error::other("a frame ends too early"))
}

/// What the properties consist of, in the order of their flags.
const PROPERTIES: [(&str, Form); 14] = [
    ("content_type", Form::Short),
    ("content_encoding", Form::Short),
    ("headers", Form::Table),
    ("delivery_mode", Form::Number(1)),
    ("priority", Form::Number(1)),
    ("correlation_id", Form::Short),
    ("reply_to", Form::Short),
    ("expiration", Form::Short),
    ("message_id", Form::Short),
    ("timestamp", Form::Number(8)),
    ("type", Form::Short),
    ("user_id", Form::Short),
    ("app_id", Form::Short),
    ("cluster_id", Form::Short),
];

#[derive(Clone, Copy)]
enum Form {
    Short,
    Table,
    Number(usize),
}

/// The properties in a content header, with "?" for each byte that is not UTF-8 and without
/// headers that cannot be read, and the names of those that were not what they are now.
pub fn mended(header: &[u8]) -> (BasicProperties, Vec<&'static str>) {
    let (start, mut rest) = header.split_at(header.len().min(12));
    let (mut kept, mut values, mut names) = (0_u16, Vec::new(), Vec::new());
    let flags = array(rest, 0).map_or(0, u16::from_be_bytes);
    rest = rest.get(2..).unwrap_or_default();
    for (place, (name, form)) in PROPERTIES.into_iter().enumerate() {
        let flag = 0x8000 >> place;
        if flags & flag == 0 {
            continue;
        }
        let size = match form {
            Form::Short => array(rest, 0).map(|[size]| 1 + usize::from(size)),
            Form::Table => array(rest, 0).map(|size| 4 + u32::from_be_bytes(size) as usize),
            Form::Number(size) => Ok(size),
        };
        let value = size.ok().and_then(|size| rest.split_at_checked(size));
        let Some((value, behind)) = value else {
            names.push(name);
            break;
        };
        rest = behind;
        let before = values.len();
        match form {
            Form::Short => {
                values.push(value[0]);
                for chunk in value[1..].utf8_chunks() {
                    values.extend(chunk.valid().as_bytes());
                    values.resize(values.len() + chunk.invalid().len(), b'?');
                }
            }
            Form::Table if parse_field_table(value).is_err() => {}
            Form::Table | Form::Number(_) => values.extend(value),
        }
        if values.len() > before {
            kept |= flag;
        }
        if values[before..] != *value {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push("routing key");
    }
    let whole = [start, &kept.to_be_bytes(), &values].concat();
    let properties = parse_content_header(&whole[..]).map(|(_, header)| header.properties);
    (properties.unwrap_or_default(), names)
}
