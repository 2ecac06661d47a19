//! Our producer and worker among plain pika programs, in all four ways.

use crate::support::SOON;
use crate::support::jobs::{A_WHILE, Place, everything, expected};
use crate::support::process::Signal;

use super::message_server;

const TASKS: [&str; 4] = ["user42", "fact:25", "freq:Привет, мир", "пользователь"];

/// Sends all tasks; whoever sends, in the same queue.
fn send(place: &Place, python: bool) {
    if python {
        let mut producer = place.python("jobs_producer.py", &TASKS, "");
        assert_eq!(everything(&producer).lines().count(), TASKS.len());
        assert_eq!(producer.wait_exit(A_WHILE), 0);
    } else {
        place.send(&TASKS);
    }
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
