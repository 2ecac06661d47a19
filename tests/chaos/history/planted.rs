//! Each promise finds the faults that break it, in a history that is sound without.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use super::event::{HistoryEvent, Place, Row};
use crate::chaos::record::{Note, Record};
use crate::chaos::run::{World as _, peace};
use crate::chaos::verdict::finds;

type Records = Vec<Record<HistoryEvent>>;
type OnPostgres = super::MessageLog<false>;

fn events(records: &mut Records) -> impl Iterator<Item = &mut HistoryEvent> {
    let events = records.iter_mut().map(|record| &mut record.note);
    events.filter_map(|note| match note {
        Note::Saw(event) => Some(event),
        _ => None,
    })
}

/// Where the middle one of these events is.
fn middle(records: &mut Records, is: impl Fn(&HistoryEvent) -> bool) -> usize {
    let indices: Vec<_> = (0..records.len())
        .filter(|at| matches!(&records[*at].note, Note::Saw(event) if is(event)))
        .collect();
    assert!(!indices.is_empty(), "no such event");
    indices[indices.len() / 2]
}

fn event(records: &mut Records, at: usize) -> &mut HistoryEvent {
    match &mut records[at].note {
        Note::Saw(event) => event,
        other => panic!("no event: {other:?}"),
    }
}

/// The messages of the answer in the middle, and its number, to be changed.
fn change_answer(records: &mut Records, change: impl FnOnce(&mut Vec<Value>, &mut i64)) {
    let is = |event: &HistoryEvent| matches!(event, HistoryEvent::Answered { .. });
    let at = middle(records, is);
    if let HistoryEvent::Answered { body, number, .. } = event(records, at) {
        let mut shown: Vec<Value> = serde_json::from_str(body).expect("messages");
        change(&mut shown, number);
        *body = serde_json::to_string(&shown).expect("JSON");
    }
}

fn is_row(event: &HistoryEvent) -> bool {
    matches!(event, HistoryEvent::Stored { .. })
}

fn row(records: &mut Records) -> &mut Row {
    let at = middle(records, is_row);
    match event(records, at) {
        HistoryEvent::Stored { row } => row,
        other => panic!("no row: {other:?}"),
    }
}

fn is_followed(event: &HistoryEvent) -> bool {
    matches!(event, HistoryEvent::Followed { .. })
}

/// The second answer to a message that was sent again.
fn answered_again(records: &mut Records) -> &mut HistoryEvent {
    let mut answered = HashSet::new();
    let mut events = events(records);
    let second = events.find(|event| match event {
        HistoryEvent::Answered { message, .. } => !answered.insert(*message),
        _ => false,
    });
    second.expect("a message that was sent again")
}

type Plant = fn(&mut Records);

/// What is planted, and the promise that finds it.
const PLANTED: [(&str, &str, Plant); 26] = [
    (
        "an answer that ends with another message",
        "an answer shows the ten before it",
        |records| change_answer(records, |shown, _| drop(shown.pop())),
    ),
    (
        "an answer without one of the ten",
        "an answer shows the ten before it",
        |records| change_answer(records, |shown, _| drop(shown.remove(3))),
    ),
    (
        "an answer with two of them swapped",
        "an answer shows the ten before it",
        |records| change_answer(records, |shown, _| shown.swap(3, 4)),
    ),
    ("a number twice", "a number is given once", |records| {
        change_answer(records, |shown, number| {
            *number -= 1;
            for message in shown {
                let one = message["number"].as_i64().expect("a number") - 1;
                message["number"] = one.into();
            }
        });
    }),
    ("two texts of a number", "all answers agree", |records| {
        change_answer(records, |shown, _| {
            shown[4]["text"] = shown[5]["text"].clone();
        });
    }),
    ("a date that falls", "dates never fall", |records| {
        row(records).at -= 3_600_000_000_000;
    }),
    (
        "a date that falls in the answers",
        "dates never fall",
        |records| {
            change_answer(records, |shown, _| {
                shown[9]["sentAt"] = "2020-01-02T03:04:05.123456789Z".into();
            });
            // It is seen in no other answer.
            let is = |event: &HistoryEvent| matches!(event, HistoryEvent::Answered { .. });
            let at = middle(records, is);
            let kept = records[at].clone();
            let is = |record: &Record<_>| matches!(&record.note, Note::Saw(event) if is(event));
            let mut near = 0;
            records.retain(|record| {
                near += usize::from(is(record));
                !is(record) || *record == kept || near < 10
            });
        },
    ),
    ("a wrong count", "counts are exact", |records| {
        row(records).count += 1;
    }),
    ("a lost row", "numbers have no hole", |records| {
        let at = middle(records, is_row);
        records.remove(at);
    }),
    ("a log from 2 on", "numbers have no hole", |records| {
        let at = records
            .iter()
            .position(|it| matches!(&it.note, Note::Saw(it) if is_row(it)));
        records.remove(at.expect("a row"));
    }),
    (
        "an answered message that is lost",
        "what is seen is what is stored",
        |records| {
            // The last one, which leaves no hole.
            let at = records
                .iter()
                .rposition(|it| matches!(&it.note, Note::Saw(it) if is_row(it)));
            records.remove(at.expect("a row"));
        },
    ),
    (
        "a follower that saw something else",
        "what is seen is what is stored",
        |records| {
            let at = middle(records, is_followed);
            if let HistoryEvent::Followed { row, .. } = event(records, at) {
                row.count += 1;
            }
        },
    ),
    (
        "a message twice",
        "a message is stored at most once",
        |records| {
            let message = row(records).message;
            let last = records
                .iter()
                .rposition(|it| matches!(&it.note, Note::Saw(it) if is_row(it)));
            if let HistoryEvent::Stored { row } = event(records, last.expect("a row")) {
                row.message = message;
            }
        },
    ),
    (
        "a message that has another number when it is sent again",
        "sent again with its key is stored once",
        |records| match answered_again(records) {
            HistoryEvent::Answered { number, .. } => *number += 1,
            other => panic!("no answer: {other:?}"),
        },
    ),
    (
        "a key that is refused when it is sent again",
        "sent again with its key is stored once",
        |records| {
            let event = answered_again(records);
            if let HistoryEvent::Answered { message, .. } = event {
                let (message, status) = (*message, "422".into());
                *event = HistoryEvent::Refused { message, status };
            }
        },
    ),
    (
        "a message that nobody sent",
        "only what was sent is stored",
        |records| row(records).message += 900_000,
    ),
    (
        "a message of another sender",
        "only what was sent is stored",
        |records| row(records).sender = "eve".into(),
    ),
    (
        "a refused message",
        "a refused message is stored never",
        |records| {
            let of = row(records).message;
            for event in events(records) {
                if matches!(event, HistoryEvent::Answered { message, .. } if *message == of) {
                    let status = "503".into();
                    *event = HistoryEvent::Refused {
                        message: of,
                        status,
                    };
                }
            }
        },
    ),
    (
        "an answer that was overtaken",
        "answered before asked has the smaller number",
        |records| {
            change_answer(records, |shown, number| {
                *number -= 50;
                for message in shown {
                    let one = message["number"].as_i64().expect("a number") - 50;
                    message["number"] = one.into();
                }
            });
        },
    ),
    (
        "a hole for a follower",
        "followers get each number once, in order",
        |records| {
            let at = middle(records, is_followed);
            records.remove(at);
        },
    ),
    (
        "a message that a follower gets twice",
        "followers get each number once, in order",
        |records| {
            let at = middle(records, is_followed);
            let again = records[at].clone();
            records.insert(at + 1, again);
        },
    ),
    (
        "a follower that begins late",
        "followers get each number once, in order",
        |records| {
            let is = |event: &HistoryEvent| matches!(event, HistoryEvent::Follows { .. });
            let at = middle(records, is);
            if let HistoryEvent::Follows { after, .. } = event(records, at) {
                *after += 3;
            }
        },
    ),
    (
        "a follower without the last message",
        "followers get the last message",
        |records| {
            let at = records
                .iter()
                .rposition(|it| matches!(&it.note, Note::Saw(it) if is_followed(it)));
            records.remove(at.expect("a follower"));
        },
    ),
    (
        "a page with a hole",
        "pages are parts of the log",
        |records| {
            let is = |event: &HistoryEvent| matches!(event, HistoryEvent::Read { rows, .. } if rows.len() > 2);
            let at = middle(records, is);
            if let HistoryEvent::Read { rows, .. } = event(records, at) {
                rows.remove(1);
            }
        },
    ),
    (
        "a page that begins late",
        "pages are parts of the log",
        |records| {
            let mut of = None;
            for event in events(records) {
                match event {
                    HistoryEvent::Reads {
                        page,
                        from: Place::After(_),
                    } => {
                        of = Some(*page);
                    }
                    HistoryEvent::Read { page, rows } if Some(*page) == of && rows.len() > 2 => {
                        rows.remove(0);
                        return;
                    }
                    _ => {}
                }
            }
        },
    ),
    (
        "the newest page from before",
        "what was answered before is read",
        |records| {
            let mut of = None;
            let mut kept = Vec::new();
            for event in events(records) {
                match event {
                    HistoryEvent::Reads { page, from } if *from == Place::Newest => {
                        of = Some(*page);
                    }
                    HistoryEvent::Read { page, rows } if Some(*page) == of => {
                        if kept.is_empty() {
                            kept.clone_from(rows);
                        } else {
                            rows.clone_from(&kept);
                        }
                    }
                    _ => {}
                }
            }
        },
    ),
];

#[test]
fn each_promise_finds_what_is_planted() {
    let sound = peace::<OnPostgres>(1, Duration::from_secs(1));
    finds(
        &sound,
        &OnPostgres::promises(),
        PLANTED.map(|(what, promise, plant)| {
            let mut planted = sound.clone();
            plant(&mut planted.records);
            (what, promise, planted)
        }),
    );
}
