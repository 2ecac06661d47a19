//! Each promise finds the faults that break it, in a history that is sound without.

use std::time::Duration;

use super::event::{JobsEvent, Listed};
use super::tasks::Kind;
use super::{Jobs, SETTLED};
use crate::chaos::record::{History, Note, Record};
use crate::chaos::run::{World as _, peace};
use crate::chaos::verdict::{finds, judge};

type Records = Vec<Record<JobsEvent>>;

fn saw(record: &Record<JobsEvent>) -> Option<&JobsEvent> {
    match &record.note {
        Note::Saw(event) => Some(event),
        _ => None,
    }
}

/// The last record of this kind of task that is such.
fn last(records: &Records, is: impl Fn(&JobsEvent) -> bool) -> usize {
    let found = records
        .iter()
        .rposition(|record| saw(record).is_some_and(&is));
    found.expect("such a record")
}

/// Where a task of this kind is over in the list, and how.
fn over(records: &Records, kind: Kind) -> (usize, Listed) {
    let is = |event: &JobsEvent| {
        matches!(event, JobsEvent::Listed(job)
        if job.is_over() && Kind::of(job.task) == Some(kind))
    };
    let at = last(records, is);
    match saw(&records[at]) {
        Some(JobsEvent::Listed(job)) => (at, job.clone()),
        _ => unreachable!("it was found so"),
    }
}

/// Adds what is noted at the end of the run.
fn add(records: &mut Records, event: JobsEvent) {
    let last = records.last().expect("a record");
    let note = Note::Saw(event);
    records.push(Record {
        note,
        ..last.clone()
    });
}

/// Adds a job at the end that is like one that is over, but for this.
fn add_like(records: &mut Records, kind: Kind, change: impl FnOnce(&mut Listed)) {
    let mut job = over(records, kind).1;
    change(&mut job);
    add(records, JobsEvent::Listed(job));
}

fn buried(records: &Records) -> usize {
    last(records, |event| matches!(event, JobsEvent::Buried { .. }))
}

fn ended(records: &mut Records, code: i32, asked: Option<u64>) {
    let program = "worker 1".into();
    add(
        records,
        JobsEvent::Ended {
            program,
            code,
            asked,
        },
    );
}

fn refused(records: &Records) -> u64 {
    let confirmed = |event: &JobsEvent| {
        matches!(event, JobsEvent::Confirmed { task }
        if Kind::of(*task) == Some(Kind::Good))
    };
    match saw(&records[last(records, confirmed)]) {
        Some(JobsEvent::Confirmed { task }) => *task,
        _ => unreachable!("it was found so"),
    }
}

type Plant = fn(&mut Records);

/// What is planted, and the promise that alone finds it.
const PLANTED: [(&str, &str, Plant); 20] = [
    (
        "a lost result",
        "a confirmed task is over in the end",
        |records| {
            let task = over(records, Kind::Good).1.task;
            records
                .retain(|it| !matches!(saw(it), Some(JobsEvent::Listed(job)) if job.task == task));
        },
    ),
    (
        "a job that waits for ever",
        "a confirmed task is over in the end",
        |records| {
            let (at, job) = over(records, Kind::Sent);
            let (state, outcome) = ("queued".into(), String::new());
            records[at].note = Note::Saw(JobsEvent::Listed(Listed {
                state,
                outcome,
                ..job
            }));
        },
    ),
    ("two results", "a task has at most one result", |records| {
        add_like(records, Kind::Good, |job| job.id += "0");
    }),
    ("two failures", "a task has at most one result", |records| {
        add_like(records, Kind::Wrong, |job| job.id += "0");
    }),
    ("a wrong result", "a result is the right one", |records| {
        let (at, mut job) = over(records, Kind::Good);
        job.outcome += "0";
        records[at].note = Note::Saw(JobsEvent::Listed(job));
    }),
    (
        "a good task that is failed",
        "a result is the right one",
        |records| {
            let (at, mut job) = over(records, Kind::Sent);
            (job.state, job.outcome) = ("failed".into(), "INVALID_ARGUMENT: ".into());
            records[at].note = Note::Saw(JobsEvent::Listed(job));
        },
    ),
    (
        "a wrong task that is done",
        "a result is the right one",
        |records| {
            let (at, mut job) = over(records, Kind::Wrong);
            job.state = "done".into();
            records[at].note = Note::Saw(JobsEvent::Listed(job));
        },
    ),
    ("a wrong print", "a result is the right one", |records| {
        let (task, result) = (over(records, Kind::Good).1.task, "0".into());
        add(records, JobsEvent::Printed { task, result });
    }),
    (
        "a job of nobody",
        "only what was sent is listed, and after that",
        |records| {
            add_like(records, Kind::Good, |job| {
                (job.id, job.task) = ("nobody's".into(), u64::MAX);
            });
        },
    ),
    (
        "a job before it was sent",
        "only what was sent is listed, and after that",
        |records| {
            let (at, job) = over(records, Kind::Good);
            let asked = last(records, |it| *it == JobsEvent::Asked { task: job.task });
            let early = records[at].note.clone();
            records.insert(
                asked,
                Record {
                    note: early,
                    ..records[asked].clone()
                },
            );
        },
    ),
    (
        "a refused one",
        "a refused task is listed never",
        |records| {
            let task = refused(records);
            add(records, JobsEvent::Refused { task });
        },
    ),
    (
        "a job that goes back",
        "a job that is over stays as it is",
        |records| {
            add_like(records, Kind::Good, |job| {
                (job.state, job.outcome) = ("queued".into(), String::new());
            });
        },
    ),
    (
        "another result",
        "a job that is over stays as it is",
        |records| {
            add_like(records, Kind::Wrong, |job| job.outcome += "another one");
        },
    ),
    (
        "a job that vanishes",
        "a job that was listed stays in the list",
        |records| {
            let Listed { id, task, .. } = over(records, Kind::Good).1;
            add(records, JobsEvent::Gone { id, task });
        },
    ),
    (
        "a lost dead letter",
        "what is dead is in the dead-letter queue",
        |records| {
            records.remove(buried(records));
        },
    ),
    (
        "another reason",
        "what is in the dead-letter queue is dead",
        |records| {
            let at = buried(records);
            if let Note::Saw(JobsEvent::Buried { reason, .. }) = &mut records[at].note {
                *reason = "UNAVAILABLE: ".into();
            }
        },
    ),
    (
        "two dead letters",
        "what is dead is in the dead-letter queue once",
        |records| {
            records.push(records[buried(records)].clone());
        },
    ),
    ("a crash", "programs end in order", |records| {
        ended(records, 101, None);
    }),
    ("a late end", "programs end in order", |records| {
        ended(records, 0, Some(20_000));
    }),
    (
        "a late result",
        "all is settled soon after the faults",
        |records| {
            let settled = last(records, |event| *event == JobsEvent::Settled);
            let late = u64::try_from(SETTLED.as_nanos()).expect("a minute") + 1;
            records[settled..].iter_mut().for_each(|it| it.at += late);
        },
    ),
];

#[test]
fn each_promise_finds_what_is_planted() {
    type World = Jobs<true>;
    let sound = peace::<World>(2, Duration::from_secs(4));
    let histories = PLANTED.map(|(what, promise, plant)| {
        let mut history = History {
            head: sound.head.clone(),
            records: sound.records.clone(),
        };
        plant(&mut history.records);
        let broken = judge(&history, &World::promises());
        let names: Vec<_> = broken.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [promise], "{what}: {broken:?}");
        (what, promise, history)
    });
    finds(&sound, &World::promises(), histories);
}
