//! Each promise finds the faults that break it, in a history that is sound without.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clients::{bridge_of, is_tail};
use super::event::BridgeEvent;
use super::{Bridge, QUIET};
use crate::chaos::chat::event::ChatEvent;
use crate::chaos::record::{Note, Record};
use crate::chaos::run::{World as _, peace};
use crate::chaos::verdict::finds;

type Records = Vec<Record<BridgeEvent>>;

/// A flush of one bridge: its number, and the records of its beginning, its messages
/// and its end.
#[derive(Clone, Default)]
struct Flush {
    number: u64,
    bridge: usize,
    asked: usize,
    has: Vec<(usize, u64, i64)>,
    ended: usize,
}

/// Two flushes, one after the other, in the middle of a run.
struct Middle {
    first: Flush,
    second: Flush,
    /// In the first one, sent through the same bridge before: its place there.
    own: usize,
}

fn saw(record: &Record<BridgeEvent>) -> Option<&BridgeEvent> {
    match &record.note {
        Note::Saw(event) => Some(event),
        _ => None,
    }
}

fn set(record: &mut Record<BridgeEvent>, event: impl Into<BridgeEvent>) {
    record.note = Note::Saw(event.into());
}

fn position(records: &Records, is: impl Fn(&BridgeEvent) -> bool) -> usize {
    let mut records = records.iter();
    let found = records.position(|record| saw(record).is_some_and(&is));
    found.expect("such a record")
}

fn answer(records: &Records, of: u64) -> usize {
    let is = |event: &BridgeEvent| matches!(event, BridgeEvent::Chat(ChatEvent::Answered { message, .. }) if *message == of);
    position(records, is)
}

fn flushes(records: &Records) -> Vec<Flush> {
    let mut flushes: BTreeMap<u64, Flush> = BTreeMap::new();
    for (index, event) in (0..).zip(records.iter().map(saw)) {
        match event {
            Some(BridgeEvent::Flushes { flush, bridge, .. }) => {
                let (number, bridge, asked) = (*flush, *bridge, index);
                let begun = Flush {
                    number,
                    bridge,
                    asked,
                    ..Flush::default()
                };
                flushes.insert(number, begun);
            }
            Some(BridgeEvent::Flushed {
                flush,
                message,
                time,
            }) => {
                let flush = flushes.get_mut(flush).expect("a flush");
                flush.has.push((index, *message, *time));
            }
            Some(BridgeEvent::Took { flush, .. }) => {
                flushes.get_mut(flush).expect("a flush").ended = index;
            }
            _ => {}
        }
    }
    flushes
        .into_values()
        .filter(|flush| flush.ended > 0)
        .collect()
}

fn middle(records: &Records) -> Middle {
    let mut flushes = flushes(records);
    flushes.retain(|flush| flush.bridge == 0);
    flushes.sort_by_key(|flush| flush.asked);
    let own = |first: &Flush| {
        first.has.iter().position(|(_, message, _)| {
            bridge_of(*message) == Some(0) && answer(records, *message) < first.asked
        })
    };
    let alone = |three: &&[Flush]| {
        let apart = three.windows(2).all(|pair| pair[0].ended < pair[1].asked);
        // What a log says counts for a second more.
        let late = records[three[0].asked].at > 1_200_000_000;
        let full = three.iter().all(|flush| flush.has.len() > 3);
        apart && late && full && own(&three[1]).is_some()
    };
    let three = flushes
        .windows(3)
        .find(alone)
        .expect("three flushes in a row");
    let (first, second) = (three[1].clone(), three[2].clone());
    let own = own(&first).expect("one");
    Middle { first, second, own }
}

/// Puts so many as dropped into the first flush, and takes so many of its messages away.
fn drop_some(records: &mut Records, it: &Middle, dropped: u64, missing: usize) {
    let (flush, subscribed) = (it.first.number, true);
    set(
        &mut records[it.first.ended],
        BridgeEvent::Took {
            flush,
            dropped,
            subscribed,
        },
    );
    for (index, ..) in it.first.has[..missing].iter().rev() {
        records.remove(*index);
    }
}

/// In place of this record, that a flush has this message.
fn put(records: &mut Records, index: usize, flush: u64, (_, message, time): (usize, u64, i64)) {
    set(
        &mut records[index],
        BridgeEvent::Flushed {
            flush,
            message,
            time,
        },
    );
}

/// Adds lines of a log.
fn log(records: &mut Records, lines: [(u64, BridgeEvent); 2]) {
    for (at, event) in lines {
        let note = Note::Saw(event);
        records.push(Record { at, by: 0, note });
    }
    records.sort_by_key(|record| record.at);
}

const LOST: &str = "no message is lost untold";
const ADDED: &str = "no more is told as dropped than is missing";
const ONCE: &str = "a message comes in one flush";
const ORDER: &str = "flushes have the server's order";
const SENT: &str = "a flush has what was sent, with its time";
const CHAT: &str = "the server keeps the promises of the chat";
const GAPS: &str = "a gap is told once, in a flush";
const SAYS: &str = "a flush says whether its bridge is subscribed";

type Plant = fn(&mut Records, &Middle);

/// What is planted, and the promise that finds it.
const PLANTED: [(&str, &str, Plant); 22] = [
    ("a message in no flush", LOST, |records, it| {
        drop_some(records, it, 0, 1);
    }),
    ("a flush that is lost", LOST, |records, it| {
        drop_some(records, it, 0, it.first.has.len());
    }),
    ("less told than missing", LOST, |records, it| {
        drop_some(records, it, 1, 2);
    }),
    ("a loss that is told for later", LOST, |records, it| {
        let (bridge, from) = (0, it.second.has[0].2);
        let at = records[it.second.ended].at;
        drop_some(records, it, 0, 1);
        let again = BridgeEvent::Again {
            bridge,
            from,
            since: at,
        };
        log(
            records,
            [(at, BridgeEvent::Lost { bridge }), (at + 1, again)],
        );
    }),
    ("a loss that the log denies", LOST, |records, it| {
        let bridge = 0;
        let at = records[it.first.asked].at;
        drop_some(records, it, 0, 1);
        let resumed = BridgeEvent::Resumed { bridge };
        log(
            records,
            [(at - 2, BridgeEvent::Lost { bridge }), (at - 1, resumed)],
        );
    }),
    ("a gap that no flush tells", GAPS, |records, it| {
        let (bridge, from) = (0, it.first.has[0].2);
        let at = records[it.first.asked].at;
        let again = BridgeEvent::Again {
            bridge,
            from,
            since: at - 2,
        };
        log(
            records,
            [(at - 2, BridgeEvent::Lost { bridge }), (at - 1, again)],
        );
    }),
    ("a gap that there was not", GAPS, |records, it| {
        let mut record = records[it.first.ended].clone();
        let flush = it.first.number;
        set(&mut record, BridgeEvent::Gap { flush });
        records.insert(it.first.ended, record);
    }),
    ("a drop that was none", ADDED, |records, it| {
        drop_some(records, it, 1, 0);
    }),
    ("more told than missing", ADDED, |records, it| {
        drop_some(records, it, 2, 1);
    }),
    ("a message in two flushes", ONCE, |records, it| {
        put(
            records,
            it.second.has[0].0,
            it.second.number,
            it.first.has[0],
        );
    }),
    ("a message twice in a flush", ONCE, |records, it| {
        put(records, it.first.has[1].0, it.first.number, it.first.has[0]);
    }),
    ("two swapped messages", ORDER, |records, it| {
        for (to, from) in [(0, 1), (1, 0)] {
            put(
                records,
                it.first.has[to].0,
                it.first.number,
                it.first.has[from],
            );
        }
    }),
    ("two swapped flushes", ORDER, |records, it| {
        let (first, second) = (&it.first, &it.second);
        for (to, from) in first.has.iter().zip(&second.has) {
            put(records, to.0, first.number, *from);
            put(records, from.0, second.number, *to);
        }
    }),
    (
        "an own write that comes late",
        "a flush has what its bridge sent before",
        |records, it| {
            let own = it.first.has[it.own];
            let mut record = records[own.0].clone();
            let (flush, message, time) = (it.second.number, own.1, own.2);
            set(
                &mut record,
                BridgeEvent::Flushed {
                    flush,
                    message,
                    time,
                },
            );
            records.insert(it.second.ended, record);
            records.remove(own.0);
        },
    ),
    ("a refused message in a flush", SENT, |records, it| {
        let message = it.first.has[0].1;
        let at = answer(records, message);
        let status = "400".into();
        set(&mut records[at], ChatEvent::Refused { message, status });
    }),
    ("another time in a flush", SENT, |records, it| {
        let (index, message, time) = it.first.has[0];
        put(records, index, it.first.number, (index, message, time + 1));
    }),
    ("a message that nobody sent", SENT, |records, it| {
        let asked = ChatEvent::Asked {
            message: it.first.has[0].1,
        };
        records.remove(position(records, |event| *event == asked.clone().into()));
    }),
    ("a send that is done twice", CHAT, |records, it| {
        let time = it.second.has[1].2;
        let is = |event: &BridgeEvent| matches!(event, BridgeEvent::Chat(ChatEvent::Delivered { time: of, .. }) if *of == time);
        let at = position(records, is);
        if let Note::Saw(BridgeEvent::Chat(ChatEvent::Delivered { message, .. })) =
            &mut records[at].note
        {
            *message = it.first.has[it.own].1;
        }
    }),
    ("another time in an answer", CHAT, |records, it| {
        let (_, message, time) = it.first.has[it.own];
        let at = answer(records, message);
        set(
            &mut records[at],
            ChatEvent::Answered {
                message,
                time: time + 1,
            },
        );
    }),
    ("a subscription that is denied", SAYS, |records, it| {
        let (flush, dropped, subscribed) = (it.first.number, 0, false);
        set(
            &mut records[it.first.ended],
            BridgeEvent::Took {
                flush,
                dropped,
                subscribed,
            },
        );
    }),
    ("a subscription that is feigned", SAYS, |records, it| {
        let (bridge, from) = (0, it.first.has[0].2);
        let since = records[it.first.asked].at - 100_000_000;
        let until = records[it.first.ended].at + 2_000_000_000;
        let again = BridgeEvent::Again {
            bridge,
            from,
            since,
        };
        log(
            records,
            [(since, BridgeEvent::Lost { bridge }), (until, again)],
        );
    }),
    (
        "nothing after the faults",
        "after the faults all comes",
        |records, _| {
            records.retain(|record| {
            !matches!(saw(record), Some(BridgeEvent::Flushed { message, .. }) if is_tail(*message))
        });
        },
    ),
];

#[test]
fn each_promise_finds_what_is_planted() {
    let sound = peace::<Bridge>(QUIET, Duration::from_secs(2));
    let middle = middle(&sound.records);
    finds(
        &sound,
        &Bridge::promises(),
        PLANTED.map(|(what, promise, plant)| {
            let mut planted = sound.clone();
            plant(&mut planted.records, &middle);
            (what, promise, planted)
        }),
    );
}
