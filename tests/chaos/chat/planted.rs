//! Each promise finds the faults that break it, in a history that is sound without.

use std::time::Duration;

use super::event::{ChatEvent, End};
use super::{Chat, SERVER};
use crate::chaos::record::{Note, Record};
use crate::chaos::run::{World as _, peace};
use crate::chaos::schedule::Fault;
use crate::chaos::verdict::finds;

type Records = Vec<Record<ChatEvent>>;

/// A delivery in the middle of a stream, which has more before and behind it.
struct Middle {
    stream: u64,
    /// Indices of a few deliveries of this stream, one after the other.
    at: Vec<usize>,
    messages: Vec<u64>,
    times: Vec<i64>,
}

fn saw(record: &Record<ChatEvent>) -> Option<&ChatEvent> {
    match &record.note {
        Note::Saw(event) => Some(event),
        _ => None,
    }
}

fn set(record: &mut Record<ChatEvent>, event: ChatEvent) {
    record.note = Note::Saw(event);
}

fn position(records: &Records, is: impl Fn(&ChatEvent) -> bool) -> usize {
    let found = records
        .iter()
        .position(|record| saw(record).is_some_and(&is));
    found.expect("such a record")
}

/// The stream with the most deliveries, of those that were read to the end of the run.
fn middle(records: &Records) -> Middle {
    let mut counts = std::collections::BTreeMap::<u64, usize>::new();
    for event in records.iter().filter_map(saw) {
        match event {
            ChatEvent::Delivered { stream, .. } => *counts.entry(*stream).or_default() += 1,
            ChatEvent::Pauses { stream } | ChatEvent::Ended { stream, .. } => {
                counts.remove(stream);
            }
            _ => {}
        }
    }
    let most = counts.iter().max_by_key(|(_, count)| **count);
    let (stream, count) = most
        .map(|(stream, count)| (*stream, *count))
        .expect("a stream");
    assert!(count > 100, "{count} deliveries");
    let mut middle = Middle {
        stream,
        at: Vec::new(),
        messages: Vec::new(),
        times: Vec::new(),
    };
    let deliveries = records
        .iter()
        .enumerate()
        .filter_map(|(at, record)| match saw(record) {
            Some(ChatEvent::Delivered {
                stream: of,
                message,
                time,
            }) if *of == stream => Some((at, *message, *time)),
            _ => None,
        });
    for (at, message, time) in deliveries.skip(count / 2).take(20) {
        middle.at.push(at);
        middle.messages.push(message);
        middle.times.push(time);
    }
    middle
}

fn delivered(middle: &Middle, number: usize, time: i64) -> ChatEvent {
    ChatEvent::Delivered {
        stream: middle.stream,
        message: middle.messages[number],
        time,
    }
}

/// How the stream in the middle ends, in place of what it saw last.
fn end(records: &mut Records, middle: &Middle, end: End) {
    let is = |event: &ChatEvent| {
        *event
            == ChatEvent::Left {
                stream: middle.stream,
            }
    };
    let at = position(records, is);
    let stream = middle.stream;
    set(&mut records[at], ChatEvent::Ended { stream, end });
}

type Plant = fn(&mut Records, &Middle);

/// What is planted, and the promise that finds it.
const PLANTED: [(&str, &str, Plant); 20] = [
    (
        "a shutdown that tells nobody",
        "a shutdown tells every stream",
        |records, it| {
            let program = SERVER.to_owned();
            let at = records.last().expect("records").at;
            let note = Note::Begun(Fault::Terminate { program });
            records.push(Record { at, by: 0, note });
            let is = |event: &ChatEvent| matches!(event, ChatEvent::Opens { stream, .. } if *stream == it.stream);
            let opened = position(records, is);
            let (stream, direct) = (it.stream, true);
            set(&mut records[opened], ChatEvent::Opens { stream, direct });
            end(records, it, End::Lost("UNAVAILABLE Socket closed".into()));
        },
    ),
    ("a lost message", "no stream has a hole", |records, it| {
        records.remove(it.at[0]);
    }),
    ("a hole of ten", "no stream has a hole", |records, it| {
        for at in it.at[..10].iter().rev() {
            records.remove(*at);
        }
    }),
    (
        "a doubled message",
        "a message comes at most once",
        |records, it| {
            let again = records[it.at[0]].clone();
            records.insert(it.at[0] + 1, again);
        },
    ),
    (
        "a message again with a time of its own",
        "all streams have one order",
        |records, it| {
            set(&mut records[it.at[2]], delivered(it, 0, it.times[2]));
        },
    ),
    (
        "two swapped messages",
        "times rise in each stream",
        |records, it| {
            set(&mut records[it.at[0]], delivered(it, 1, it.times[1]));
            set(&mut records[it.at[1]], delivered(it, 0, it.times[0]));
        },
    ),
    (
        "two messages with each other's times",
        "all streams have one order",
        |records, it| {
            set(&mut records[it.at[0]], delivered(it, 1, it.times[0]));
            set(&mut records[it.at[1]], delivered(it, 0, it.times[1]));
        },
    ),
    ("equal times", "times rise in each stream", |records, it| {
        set(&mut records[it.at[1]], delivered(it, 1, it.times[0]));
    }),
    (
        "a message from before",
        "nothing comes from before a subscription",
        |records, it| {
            let is = |event: &ChatEvent| matches!(event, ChatEvent::Opens { stream, .. } if *stream == it.stream);
            let opened = records.remove(position(records, is));
            let at = it.at[19] - 1;
            let late = Record {
                at: records[at].at,
                ..opened
            };
            records.insert(at + 1, late);
            let again = ChatEvent::Delivered {
                stream: it.stream,
                message: it.messages[0],
                time: it.times[0],
            };
            let mut record = records[at + 1].clone();
            set(&mut record, again);
            records.insert(at + 2, record);
        },
    ),
    (
        "a subscription that is registered late",
        "a live stream misses nothing",
        |records, it| {
            let is_early = |record: &Record<ChatEvent>| {
                matches!(saw(record), Some(ChatEvent::Delivered { stream, time, .. })
                if *stream == it.stream && *time < it.times[0])
            };
            records.retain(|record| !is_early(record));
        },
    ),
    (
        "a wrong last time",
        "a stream has all to its end",
        |records, it| {
            end(
                records,
                it,
                End::Cut {
                    last: Some(it.times[0]),
                },
            );
        },
    ),
    (
        "no last time",
        "a stream has all to its end",
        |records, it| {
            end(records, it, End::Cut { last: None });
        },
    ),
    (
        "a shutdown that loses the last message",
        "a stream has all to its end",
        |records, it| {
            end(records, it, End::Shutdown);
            let last = records.iter().rposition(|record| {
            matches!(saw(record), Some(ChatEvent::Delivered { stream, .. }) if *stream == it.stream)
        });
            records.remove(last.expect("a delivery"));
        },
    ),
    (
        "the last message has not come",
        "a stream has all to its end",
        |records, it| {
            let last = records.iter().rposition(|record| {
            matches!(saw(record), Some(ChatEvent::Delivered { stream, .. }) if *stream == it.stream)
        });
            records.remove(last.expect("a delivery"));
        },
    ),
    (
        "a refused message comes",
        "a refused message comes never",
        |records, it| {
            let message = it.messages[0];
            let is = |event: &ChatEvent| matches!(event, ChatEvent::Answered { message: of, .. } if *of == message);
            let at = position(records, is);
            let status = "INVALID_ARGUMENT".into();
            set(&mut records[at], ChatEvent::Refused { message, status });
        },
    ),
    (
        "another time in the answer",
        "the answer's time is the stream's time",
        |records, it| {
            let (message, time) = (it.messages[0], it.times[0]);
            let at = position(records, |event| {
                *event == ChatEvent::Answered { message, time }
            });
            let time = time + 1;
            set(&mut records[at], ChatEvent::Answered { message, time });
        },
    ),
    (
        "a message that nobody sent",
        "only what was sent comes, and after that",
        |records, it| {
            let message = it.messages[0];
            let at = position(records, |event| *event == ChatEvent::Asked { message });
            records.remove(at);
        },
    ),
    (
        "an answer before the message has its place",
        "answered before asked is earlier",
        |records, it| {
            // Each of the two is sent and answered when the other one was.
            let (early, late) = (it.messages[0], it.messages[19]);
            let swap = |message: u64| match message {
                _ if message == early => late,
                _ if message == late => early,
                _ => message,
            };
            let times = [(early, it.times[0]), (late, it.times[19])];
            for record in records {
                let event = match saw(record) {
                    Some(ChatEvent::Asked { message }) => ChatEvent::Asked {
                        message: swap(*message),
                    },
                    Some(ChatEvent::Answered { message, time }) => {
                        let message = swap(*message);
                        let own = times.iter().find(|(of, _)| *of == message);
                        let time = own.map_or(*time, |(_, time)| *time);
                        ChatEvent::Answered { message, time }
                    }
                    _ => continue,
                };
                set(record, event);
            }
        },
    ),
    (
        "another time in the second answer to a key",
        "a known key gets its first answer",
        |records, it| {
            let (message, time) = (it.messages[0], it.times[0]);
            let at = position(records, |event| {
                *event == ChatEvent::Answered { message, time }
            });
            let time = time + 1;
            let mut again = records[at].clone();
            set(&mut again, ChatEvent::Again { message, time });
            records.insert(at + 1, again);
        },
    ),
    (
        "a message again after the server was killed",
        "a message comes at most once",
        |records, it| {
            let program = SERVER.to_owned();
            let kill = Fault::Kill { program };
            let after = records.last().expect("records").at;
            let (message, time) = (it.messages[0], it.times[0] + 1_000_000_000_000);
            let stream = 999_999;
            let notes = [
                Note::Begun(kill.clone()),
                Note::Ending(kill),
                Note::Saw(ChatEvent::Opens {
                    stream,
                    direct: true,
                }),
                Note::Saw(ChatEvent::Registered { stream }),
                Note::Saw(ChatEvent::Delivered {
                    stream,
                    message,
                    time,
                }),
            ];
            for (later, note) in (1..).zip(notes) {
                records.push(Record {
                    at: after + later,
                    by: 0,
                    note,
                });
            }
        },
    ),
];

#[test]
fn each_promise_finds_what_is_planted() {
    let sound = peace::<Chat>(1, Duration::from_secs(1));
    let began = std::time::Instant::now();
    let middle = middle(&sound.records);
    finds(
        &sound,
        &Chat::promises(),
        PLANTED.map(|(what, promise, plant)| {
            let mut planted = sound.clone();
            plant(&mut planted.records, &middle);
            (what, promise, planted)
        }),
    );
    println!("judged in {:?}", began.elapsed());
}
