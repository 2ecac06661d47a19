//! Each promise finds the faults that break it, in a history that is sound without.

use std::time::Duration;

use super::Todo;
use super::event::{Answer, Ask, Change, Listed, TodoEvent};
use crate::chaos::record::{Note, Record};
use crate::chaos::run::{World as _, peace};
use crate::chaos::verdict::finds;

type Records = Vec<Record<TodoEvent>>;

/// A few things that were told one after the other in the middle of a stream.
struct Middle {
    stream: u64,
    at: Vec<usize>,
    /// Of them the indices of those that tell of new tasks.
    added: Vec<usize>,
}

fn saw(record: &Record<TodoEvent>) -> Option<&TodoEvent> {
    match &record.note {
        Note::Saw(event) => Some(event),
        _ => None,
    }
}

fn position(records: &Records, is: impl Fn(&TodoEvent) -> bool) -> usize {
    let mut records = records.iter();
    let found = records.position(|record| saw(record).is_some_and(&is));
    found.expect("such a record")
}

fn told(records: &Records, at: usize) -> (u64, Change, u64) {
    match saw(&records[at]) {
        Some(TodoEvent::Told {
            stream,
            change,
            title,
        }) => (*stream, *change, *title),
        other => panic!("not told: {other:?}"),
    }
}

/// Of the stream that tells most.
fn middle(records: &Records) -> Middle {
    let mut streams = std::collections::BTreeMap::<u64, Vec<usize>>::new();
    for (at, record) in records.iter().enumerate() {
        if let Some(TodoEvent::Told { stream, .. }) = saw(record) {
            streams.entry(*stream).or_default().push(at);
        }
    }
    let (stream, at) = streams.into_iter().max_by_key(|(_, at)| at.len()).unwrap();
    let at = at[at.len() / 3..2 * at.len() / 3].to_vec();
    assert!(at.len() > 20, "{} changes", at.len());
    let added = at.iter().copied();
    let added = added.filter(|at| !told(records, *at).1.1).collect();
    Middle { stream, at, added }
}

/// The answer to a call.
fn answer(records: &mut Records, call: u64) -> &mut Answer {
    let at = position(
        records,
        |event| matches!(event, TodoEvent::Done { call: of, .. } if *of == call),
    );
    match &mut records[at].note {
        Note::Saw(TodoEvent::Done { answer, .. }) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

fn lists(records: &Records) -> Vec<(usize, Listed)> {
    let lists = records.iter().enumerate().filter_map(|(at, record)| {
        let Some(TodoEvent::Done { answer, .. }) = saw(record) else {
            return None;
        };
        match answer {
            Answer::Listed(listed) => Some((at, listed.clone())),
            _ => None,
        }
    });
    lists.collect()
}

fn set_list(records: &mut Records, at: usize, listed: Listed) {
    if let Note::Saw(TodoEvent::Done { answer, .. }) = &mut records[at].note {
        *answer = Answer::Listed(listed);
    }
}

/// The last list without the last task.
fn forget_the_last(records: &mut Records) -> i32 {
    let (at, mut listed) = lists(records).pop().expect("lists");
    let id = listed.there.last().expect("tasks").1;
    listed.there = vec![(1, id - 1)];
    listed.titles.retain(|(it, _)| *it != id);
    set_list(records, at, listed);
    id
}

type Plant = fn(&mut Records, &Middle);

/// What is planted, and the promise that finds it.
const PLANTED: [(&str, &str, Plant); 18] = [
    ("an id twice", "an id has one task", |records, it| {
        let [(_, (id, _), _), (.., other)] = [0, 1].map(|n| told(records, it.added[n]));
        *answer(records, other) = Answer::Added(id);
    }),
    (
        "a task twice",
        "a task is added at most once",
        |records, it| {
            let (stream, _, title) = told(records, it.added[0]);
            let change = (999_999, false);
            let again = TodoEvent::Told {
                stream,
                change,
                title,
            };
            let mut record = records[it.at[5]].clone();
            record.note = Note::Saw(again);
            records.insert(it.at[5] + 1, record);
        },
    ),
    (
        "a task that nobody asked for",
        "only what was asked for happens",
        |records, it| {
            let (.., title) = told(records, it.added[0]);
            let ask = Ask::Add;
            let asked = TodoEvent::Asked { call: title, ask };
            records.remove(position(records, |event| *event == asked));
        },
    ),
    (
        "a completion that nobody asked for",
        "only what was asked for happens",
        |records, _| {
            let (at, mut listed) = lists(records).pop().expect("lists");
            listed.done = vec![(1, listed.there[0].1)];
            set_list(records, at, listed);
        },
    ),
    (
        "a refused task",
        "a refused change happens never",
        |records, it| {
            let (.., title) = told(records, it.added[0]);
            *answer(records, title) = Answer::Refused("full".into());
        },
    ),
    (
        "a refused completion",
        "a refused change happens never",
        |records, it| {
            let all = it.at.iter().map(|at| told(records, *at).1);
            let id = all.into_iter().find(|change| change.1).expect("one").0;
            let calls = records.iter().filter_map(saw).filter_map(|it| match it {
                TodoEvent::Asked { call, ask } if *ask == Ask::Complete(id) => Some(*call),
                _ => None,
            });
            for call in calls.collect::<Vec<_>>() {
                *answer(records, call) = Answer::Refused("full".into());
            }
        },
    ),
    (
        "an answered task that is lost",
        "an answered change is in the list",
        |records, _| {
            forget_the_last(records);
        },
    ),
    (
        "a told task that is lost",
        "a change that is told is in the list",
        |records, _| {
            let id = forget_the_last(records);
            let added = Answer::Added(id);
            let at = position(
                records,
                |it| matches!(it, TodoEvent::Done { answer, .. } if *answer == added),
            );
            if let Note::Saw(TodoEvent::Done { answer, .. }) = &mut records[at].note {
                *answer = Answer::Unknown("reset".into());
            }
        },
    ),
    (
        "two lists that lack each other's tasks",
        "all lists are on one line",
        |records, _| {
            let lists = lists(records);
            let [(at, list), ..] = &lists[lists.len() / 2..] else {
                panic!("few lists")
            };
            let mut list = list.clone();
            list.there = vec![(2, list.there[0].1 + 1)];
            set_list(records, *at, list);
        },
    ),
    (
        "a list from before",
        "all lists are on one line",
        |records, _| {
            let lists = lists(records);
            let (at, _) = lists[lists.len() / 2];
            set_list(records, at, lists[lists.len() / 4].1.clone());
        },
    ),
    (
        "a change from before",
        "a watcher is told nothing from before",
        |records, it| {
            let stream = it.stream;
            let opens = TodoEvent::Opens { stream };
            let opened = records.remove(position(records, |event| *event == opens));
            // Behind something that all others were told, and told again.
            let mut again = records[it.at[0] - 1].clone();
            again.note = opened.note;
            records.insert(it.at[19], again);
        },
    ),
    (
        "a completion that is told twice",
        "a change is told once",
        |records, it| {
            let again = records[it.at[0]].clone();
            records.insert(it.at[3], again);
        },
    ),
    (
        "two changes in another order",
        "all watchers have one order",
        |records, it| {
            let (first, second) = (it.at[0], it.at[1]);
            let note = records[first].note.clone();
            records[first].note = std::mem::replace(&mut records[second].note, note);
        },
    ),
    ("a hole", "all watchers have one order", |records, it| {
        for at in it.at[..5].iter().rev() {
            records.remove(*at);
        }
    }),
    (
        "an order that is not that of the answers",
        "answered before asked is told before",
        |records, it| {
            // In all streams.
            let (early, late) = (it.added[0], *it.added.last().expect("one"));
            let (early, late) = (told(records, early), told(records, late));
            let titles = [(early.1, late.2), (late.1, early.2)];
            for record in records.iter_mut() {
                let Note::Saw(event) = &mut record.note else {
                    continue;
                };
                match event {
                    TodoEvent::Told { change, title, .. } => {
                        let other = titles.iter().find(|(of, _)| of.0 == change.0);
                        *title = other.map_or(*title, |(_, title)| *title);
                    }
                    TodoEvent::Done { call, answer } if matches!(answer, Answer::Added(_)) => {
                        let other = titles.iter().find(|(_, title)| title == call);
                        if let Some(((id, _), _)) = other {
                            *answer = Answer::Added(*id);
                        }
                    }
                    _ => {}
                }
            }
        },
    ),
    (
        "a subscription that is registered late",
        "a live watcher misses nothing",
        |records, it| {
            let early: Vec<_> = (0..it.at[10])
                .filter(|at| {
                    matches!(saw(&records[*at]),
                        Some(TodoEvent::Told { stream, .. }) if *stream == it.stream)
                })
                .collect();
            for at in early.into_iter().rev() {
                records.remove(at);
            }
        },
    ),
    (
        "the last task is not told",
        "the last change is told to all",
        |records, it| {
            let last = records.iter().rposition(|record| {
                matches!(saw(record),
                    Some(TodoEvent::Told { stream, .. }) if *stream == it.stream)
            });
            records.remove(last.expect("something told"));
        },
    ),
    (
        "a list from before",
        "adding, completing and listing are linearizable",
        |records, _| {
            let lists = lists(records);
            let (at, _) = lists[lists.len() / 2];
            set_list(records, at, lists[lists.len() / 2 - 10].1.clone());
        },
    ),
];

#[test]
fn each_promise_finds_what_is_planted() {
    let sound = peace::<Todo>(1, Duration::from_secs(2));
    let middle = middle(&sound.records);
    finds(
        &sound,
        &Todo::promises(),
        PLANTED.map(|(what, promise, plant)| {
            let mut planted = sound.clone();
            plant(&mut planted.records, &middle);
            (what, promise, planted)
        }),
    );
}
