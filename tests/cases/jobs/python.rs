//! Our producer and worker among plain pika programs, in all four ways.

use serde_json::Value;

use crate::support::SOON;
use crate::support::jobs::{A_WHILE, Place, everything, expected, text};
use crate::support::process::Signal;

use super::message_server;

const TASKS: [&str; 5] = [
    "user42",
    "fact:25",
    "freq:Привет мир",
    "пользователь",
    "New Task!",
];

/// Sends all tasks; whoever sends, in the same queue.
fn send(place: &Place, python: bool) {
    if python {
        // Without arguments it has one to send.
        produce(place, &[], "New Task!");
        produce(place, &[&TASKS[..4].join(", ")], &TASKS[..4].join(", "));
    } else {
        place.send(&TASKS[..3]);
        let both = place.jobs(&["send", &TASKS[3..].join(", ")]);
        assert_eq!(everything(&both).lines().count(), 2);
    }
}

fn produce(place: &Place, arguments: &[&str], said: &str) {
    let mut producer = place.python("jobs_producer.py", arguments, "");
    assert_eq!(everything(&producer), format!("Sent '{said}'\n"));
    assert_eq!(producer.wait_exit(A_WHILE), 0);
}

fn expect(lines: impl Iterator<Item = String>) {
    let mut lines: Vec<_> = lines.take(2 * TASKS.len()).collect();
    let line = |task: &&str| format!("{task} -> {}", expected(task));
    let mut wanted: Vec<_> = TASKS.iter().chain(&TASKS).map(line).collect();
    lines.sort();
    wanted.sort();
    assert_eq!(lines, wanted);
}

#[test]
fn both_producers_and_our_worker() {
    let (place, server) = (Place::rabbitmq(), message_server());
    send(&place, true);
    send(&place, false);
    let worker = place.work(&server.address(), &["--workers", "2"]);
    expect(std::iter::from_fn(|| worker.line(A_WHILE)));
    let jobs = place.list(&[]);
    // A plain producer does not say when it sent.
    let unsaid = jobs.iter().filter(|job| job["queuedAt"].is_null());
    assert_eq!((unsaid.count(), jobs.len()), (TASKS.len(), 2 * TASKS.len()));
    // Those of its one message have its number before their own.
    let unsaid = |job: &&Value| job["queuedAt"].is_null();
    let of = |task: &str| jobs.iter().filter(unsaid).find(|job| job["task"] == task);
    let ids = TASKS.map(|task| text(&of(task).expect("a job")["id"]));
    let ids = ids.each_ref().map(|id| id.split_once('.'));
    let message = ids[0].unwrap().0;
    for (index, id) in ids[..4].iter().enumerate() {
        assert_eq!(*id, Some((message, &*(index + 1).to_string())));
    }
    assert_eq!(ids[4], None, "it is alone in its message");
}

#[test]
fn both_producers_and_a_python_consumer() {
    let (place, server) = (Place::rabbitmq(), message_server());
    let mut consumer = place.python("jobs_consumer.py", &[], &server.address());
    assert_eq!(consumer.line(A_WHILE).as_deref(), Some("Waiting for tasks"));
    send(&place, false);
    send(&place, true);
    expect(std::iter::from_fn(|| consumer.line(A_WHILE)));
    consumer.signal(Signal::TERM);
    consumer.wait_exit(SOON);
}

#[test]
fn a_python_consumer_and_our_worker_share_one_queue() {
    let (place, server) = (Place::rabbitmq(), message_server());
    let consumer = place.python("jobs_consumer.py", &[], &server.address());
    assert_eq!(consumer.line(A_WHILE).as_deref(), Some("Waiting for tasks"));
    let _worker = place.work(&server.address(), &[]);
    let desk = place.desk();
    crate::support::eventually(A_WHILE, "two consumers", || {
        desk.depth(SOON).is_ok_and(|depth| depth.consumers == 2)
    });
    let tasks: Vec<_> = (0..100).map(|n| format!("fact:{n}")).collect();
    place.send(&tasks);
    let first = consumer.line(A_WHILE).expect("a share for Python");
    let mut done = vec![first];
    crate::support::eventually(A_WHILE, "nothing waits", || {
        desk.depth(SOON).is_ok_and(|depth| depth.waiting == 0)
    });
    let ours = || place.list(&[]).len();
    while done.len() + ours() < tasks.len() {
        done.push(consumer.line(A_WHILE).expect("all tasks are done"));
    }
    assert!(ours() > 0, "a share for us");
    assert_eq!(done.len() + ours(), tasks.len());
}
