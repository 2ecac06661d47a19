//! Properties and headers of messages from RabbitMQ, whoever has set them: the bytes as
//! the broker sends them, read by the AMQP library and then by us.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::protocol::basic::{gen_properties, parse_properties};
use messenger::fanout::clock::Timestamp;
use messenger::jobs::queue::message::{
    dead_letter, dead_letter_properties, id, mended, properties, queued_at, requeue_properties,
};
use messenger::jobs::queue::{DeadLetter, Outgoing};

use super::driver::{Target, one_by_one};

pub const TARGET: Target = Target {
    name: "queue-headers",
    start: || one_by_one(judge),
    words: "\x15x-messenger-queued-atl\0\0\0\0\0\0\0\x01|\x15x-messenger-queued-at\
         |\x12x-messenger-reasonS\0\0\0\x03why|\x12x-messenger-reason\
         |\x14x-messenger-attemptsl\0\0\0\0\0\0\0\x02|\x14x-messenger-attempts|l|S|I|T|F|A\
         |t\x01|\0\0\0\0|\0\0\0\0\0\0\0\x03|\x7f|\x03id1",
    longest: 2000,
    together: 1,
};

fn letter(properties: BasicProperties) -> DeadLetter {
    let mut message = Delivery::mock(1, "".into(), "".into(), false, b"fact:6".to_vec());
    message.properties = properties;
    dead_letter(&message)
}

fn wire(properties: &BasicProperties) -> Vec<u8> {
    let written = gen_properties::<Vec<u8>>(properties)(Vec::new().into());
    let written = written.expect("properties that were read can be written");
    written.into_inner().0
}

fn read(bytes: &[u8]) -> Option<BasicProperties> {
    parse_properties(bytes)
        .ok()
        .map(|(_, properties)| properties)
}

fn judge(input: &[u8]) -> String {
    // What the AMQP library cannot read is made so, and what it can read stays.
    let sound = wire(&mended(&[&[0; 12], input].concat()).0);
    assert_eq!(read(&sound).map(|it| wire(&it)), Some(sound.clone()));
    let Some(given) = read(input) else {
        return "no properties".into();
    };
    assert_eq!(sound, wire(&given));
    let (id, queued_at) = (id(&given), queued_at(&given));
    assert!(id.as_deref().is_none_or(|id| (1..=255).contains(&id.len())));
    // It is shown, and stored.
    let shown = queued_at.map(Timestamp::rfc3339);
    assert_eq!(shown.as_deref().and_then(Timestamp::parse), queued_at);
    let found = letter(given.clone());
    assert_eq!(found.id, id);

    // It fails, is dead-lettered, listed, and requeued.
    let reason: String = "é".repeat(input.len());
    let dead = DeadLetter {
        id: id.clone(),
        body: b"fact:6".to_vec(),
        reason: reason.clone(),
        attempts: u32::MAX - input.len() as u32,
    };
    let properties_of_dead = dead_letter_properties(&given, &dead, u32::MAX);
    let arrived = read(&wire(&properties_of_dead)).expect("what we write can be read");
    let listed = letter(arrived.clone());
    assert_eq!(
        (&listed.id, &listed.body, listed.attempts),
        (&id, &dead.body, dead.attempts)
    );
    assert!(reason.starts_with(&listed.reason) && listed.reason.chars().count() <= 1000);
    let again = requeue_properties(&arrived);
    // The broker would refuse the one, and the other would remove the task.
    assert!(arrived.user_id().is_none() && arrived.expiration().is_none());
    assert_eq!(self::queued_at(&again), queued_at);
    let fresh = letter(again);
    assert_eq!(
        (fresh.attempts, &*fresh.reason, fresh.id),
        (0, "", id.clone())
    );

    if let (Some(id), Some(queued_at)) = (&id, queued_at) {
        let sent = Outgoing {
            id: id.clone(),
            body: Vec::new(),
            queued_at,
        };
        let sent = read(&wire(&properties(&sent))).expect("what we write can be read");
        assert_eq!(
            (self::id(&sent).as_ref(), self::queued_at(&sent)),
            (Some(id), Some(queued_at))
        );
    }
    let has = |there: bool, what: &str| format!(", {what}").repeat(there.into());
    let headers = given
        .headers()
        .iter()
        .flat_map(|table| table.inner())
        .count();
    [
        format!("{} headers", headers.min(3)),
        has(id.is_some(), "id"),
        has(queued_at.is_some(), "time"),
        has(given.timestamp().is_some(), "timestamp"),
        has(!found.reason.is_empty(), "reason"),
        has(found.attempts > 0, "attempts"),
    ]
    .concat()
}
