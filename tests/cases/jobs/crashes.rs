//! Each failure point, hit on purpose: the process aborts there.

use crate::support::jobs::{A_WHILE, Place, on_both_queues};
use crate::support::programs::Server;
use crate::support::{SOON, eventually};

use super::message_server;

on_both_queues!(
    a_sender_that_dies_before_it_publishes,
    a_sender_that_dies_before_the_confirmation,
    a_worker_that_dies_after_processing,
    a_worker_that_dies_after_storing,
    a_worker_that_dies_before_the_acknowledgement,
    a_worker_that_dies_before_it_dead_letters,
);

/// The signal that abort sends to itself.
const ABORTED: i32 = -6;

/// Aborts in `send`; nothing may be claimed. Returns how many tasks are done
/// once another one has followed.
fn die_sending(place: &Place, point: &str) -> usize {
    let server = message_server();
    let mut sender = place.jobs_with(&["send", "user1"], &[("MESSENGER_FAILPOINT", point)]);
    assert_eq!(sender.line(A_WHILE), None, "nothing is claimed");
    assert_eq!(sender.wait_exit(SOON), ABORTED);
    place.send(&["user2"]);
    let worker = place.work(&server.address(), &[]);
    let mut count = 0;
    while worker.line(A_WHILE).expect("a line").starts_with("user1") {
        count += 1;
    }
    count
}

fn a_sender_that_dies_before_it_publishes(place: Place) {
    assert_eq!(die_sending(&place, "before-publish"), 0);
}

/// The task may be there or not, but only once.
fn a_sender_that_dies_before_the_confirmation(place: Place) {
    assert!(die_sending(&place, "before-confirm") <= 1);
}

/// Aborts a worker; returns the job after another one has taken over.
fn die_working(place: &Place, point: &str) -> serde_json::Value {
    let server = message_server();
    let ids = place.send(&["fact:5", "fact:6"]);
    let address = server.address();
    let arguments = ["work", "--target", &address, "--name", "first"];
    let mut worker = place.jobs_with(&arguments, &[("MESSENGER_FAILPOINT", point)]);
    assert_eq!(worker.wait_exit(A_WHILE), ABORTED, "{}", worker.log());
    let _worker = place.work(&address, &["--name", "second"]);
    let jobs = place.wait_for(2);
    assert_eq!(jobs[&ids[1]]["worker"], "second/1");
    let job = jobs[&ids[0]].clone();
    assert_eq!(
        (&job["state"], &job["result"]),
        (&"done".into(), &"120".into())
    );
    let desk = place.desk();
    eventually(A_WHILE, "nothing is left", || {
        desk.depth(SOON).is_ok_and(|depth| depth.waiting == 0)
    });
    job
}

fn a_worker_that_dies_after_processing(place: Place) {
    let job = die_working(&place, "after-processing");
    assert_eq!(job["worker"], "second/1", "{job}");
}

fn a_worker_that_dies_after_storing(place: Place) {
    let job = die_working(&place, "after-store");
    assert_eq!(job["worker"], "first/1", "the first result counts: {job}");
}

fn a_worker_that_dies_before_the_acknowledgement(place: Place) {
    let job = die_working(&place, "before-ack");
    assert_eq!(job["worker"], "first/1", "the first result counts: {job}");
    assert_eq!(job["attempts"], 1);
}

/// The job is dead in the store, and its task is not in the dead-letter queue.
fn a_worker_that_dies_before_it_dead_letters(place: Place) {
    let server = Server::start(&["--services", "chat"]);
    let address = server.address();
    place.send(&["fact:5"]);
    let arguments = ["work", "--target", &address, "--attempts", "1"];
    let mut worker = place.jobs_with(&arguments, &[("MESSENGER_FAILPOINT", "after-store")]);
    assert_eq!(worker.wait_exit(A_WHILE), ABORTED, "{}", worker.log());
    assert_eq!(place.dead(&["list"]), "");
    let _worker = place.work(&address, &["--attempts", "1"]);
    eventually(A_WHILE, "it is in the dead-letter queue", || {
        place
            .dead(&["list"])
            .contains("fact:5 (1 attempts: UNIMPLEMENTED")
    });
}
