//! Messages as RabbitMQ carries them: properties and headers.

use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::fanout::clock::Timestamp;
use crate::jobs::queue::{Dead, Obituary, Outgoing};

/// When the task was sent, in nanoseconds since 1970; AMQP's own timestamp has
/// only seconds.
const QUEUED_AT: &str = "x-messenger-queued-at";
/// Why a task is dead, and after how many attempts.
const REASON: &str = "x-messenger-reason";
const ATTEMPTS: &str = "x-messenger-attempts";

/// The longest reason in a header.
const REASON_CHARACTERS: usize = 1000;

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

/// Those of a task that dies: as its message's producer set them, and the reason.
pub fn of_dead(properties: &BasicProperties, dead: &Dead) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    let obituary = &dead.obituary;
    let reason: String = obituary.reason.chars().take(REASON_CHARACTERS).collect();
    let reason = LongString::from(reason);
    headers.insert(REASON.into(), AMQPValue::LongString(reason));
    let attempts = AMQPValue::LongLongInt(obituary.attempts.into());
    headers.insert(ATTEMPTS.into(), attempts);
    let id = dead.id.clone().unwrap_or_default();
    properties
        .clone()
        .with_headers(headers)
        .with_message_id(ShortString::try_new(id).unwrap_or_default())
        .with_delivery_mode(PERSISTENT)
}

/// Those of a task that comes back from the dead.
pub fn without_obituary(properties: BasicProperties) -> BasicProperties {
    let headers = properties.headers().clone().unwrap_or_default();
    let mut kept = FieldTable::default();
    for (name, value) in headers.inner() {
        if ![REASON, ATTEMPTS].contains(&name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    properties.with_headers(kept)
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

/// A message in the dead-letter queue, whoever has put it there.
pub fn dead(message: &Message) -> Dead {
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
    Dead {
        id: id(&message.properties),
        body: message.data.clone(),
        obituary: Obituary { reason, attempts },
    }
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}
