//! Each promise about several servers finds what is planted, and the others do not: in a
//! history that is sound without.

use std::time::Duration;

use super::promises;
use super::{ChatEvent, Several};
use crate::chaos::chat::event::End;
use crate::chaos::record::{History, Note, Record};
use crate::chaos::run::peace;
use crate::chaos::verdict::{finds, judge};

type Records = Vec<Record<ChatEvent>>;

/// Two messages, one behind the other, that were delivered, answered and stored.
struct Pair {
    messages: [u64; 2],
    times: [i64; 2],
}

fn pair(history: &History<ChatEvent>) -> Pair {
    let stored = history.events().filter_map(|(_, _, event)| match event {
        ChatEvent::Stored { message, time } => Some((*message, *time)),
        _ => None,
    });
    let stored: Vec<_> = stored.collect();
    let (a, b) = (stored[stored.len() / 2], stored[stored.len() / 2 + 1]);
    Pair {
        messages: [a.0, b.0],
        times: [a.1, b.1],
    }
}

/// The event in each record.
fn events(records: &mut Records) -> impl DoubleEndedIterator<Item = &mut ChatEvent> {
    records
        .iter_mut()
        .filter_map(|record| match &mut record.note {
            Note::Saw(event) => Some(event),
            _ => None,
        })
}

/// They failed, so that no answer says what became of them.
fn in_doubt(records: &mut Records, pair: &Pair) {
    for event in events(records) {
        if let ChatEvent::Answered { message, .. } = *event
            && pair.messages.contains(&message)
        {
            let status = "UNAVAILABLE".into();
            *event = ChatEvent::Unknown { message, status };
        }
    }
    records.retain(|record| !matches!(&record.note, Note::Saw(ChatEvent::Again { .. })));
}

type Plant = fn(&mut Records, &Pair);

const PLANTED: [(&str, &str, Plant); 6] = [
    (
        "an answered message that a failover loses, and nobody is told of a gap",
        "what was answered or delivered stays",
        |records, pair| {
            records.retain(|record| {
                !matches!(&record.note, Note::Saw(ChatEvent::Stored { message, .. })
                    if *message == pair.messages[0])
            });
        },
    ),
    (
        "a key that another server stores again",
        "a message is stored once",
        |records, pair| {
            let mut again = records.last().expect("the last row").clone();
            if let Note::Saw(ChatEvent::Stored { message, time }) = &mut again.note {
                (*message, *time) = (pair.messages[0], *time + 1);
            }
            records.push(again);
        },
    ),
    (
        "two messages that one server has the other way round",
        "all streams have one order",
        |records, pair| {
            in_doubt(records, pair);
            let last = events(records).rev().find_map(|event| match event {
                ChatEvent::Delivered {
                    stream, message, ..
                } if *message == pair.messages[0] => Some(*stream),
                _ => None,
            });
            for event in events(records) {
                if let ChatEvent::Delivered {
                    stream, message, ..
                } = event
                    && Some(*stream) == last
                    && let Some(at) = pair.messages.iter().position(|it| it == message)
                {
                    *message = pair.messages[1 - at];
                }
            }
        },
    ),
    (
        "a time that is given again",
        "a time is given once",
        |records, pair| {
            for event in events(records) {
                if let ChatEvent::Stored { message, time } = event
                    && *message == pair.messages[1]
                {
                    *time = pair.times[0];
                }
            }
        },
    ),
    (
        "a resume that is told of a gap after a promotion",
        "nobody is told of a gap",
        |records, _| {
            for event in events(records) {
                if let ChatEvent::Left { stream } = *event {
                    *event = ChatEvent::Gap { stream };
                }
            }
        },
    ),
    (
        "a stream that ends with a gap after a promotion",
        "nobody is told of a gap",
        |records, _| {
            let says = "DATA_LOSS what comes next does not follow what was sent: subscribe again";
            for event in events(records) {
                if let ChatEvent::Left { stream } = *event {
                    let end = End::Lost(says.into());
                    *event = ChatEvent::Ended { stream, end };
                }
            }
        },
    ),
];

#[test]
fn each_promise_finds_what_is_planted_and_no_other_does() {
    let sound = peace::<Several>(1, Duration::from_secs(1));
    let pair = pair(&sound);
    let planted = PLANTED.map(|(what, promise, plant)| {
        let mut planted = sound.clone();
        plant(&mut planted.records, &pair);
        (what, promise, planted)
    });
    for (what, promise, planted) in &planted {
        let broken = judge(planted, &promises::all());
        let broken: Vec<_> = broken.iter().map(|(name, _)| *name).collect();
        assert_eq!(broken, [*promise], "{what}");
    }
    // Those of the chat are held against its own history.
    let mut named = promises::all();
    named.retain(|it| PLANTED.iter().any(|(_, promise, _)| it.name == *promise));
    finds(&sound, &named, planted);
}
