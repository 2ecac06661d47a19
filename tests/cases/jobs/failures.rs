//! What cannot succeed, what keeps failing, and who is not there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use crate::support::jobs::{A_WHILE, Place, on_both_queues, text};
use crate::support::programs::{Server, free_port};
use crate::support::rabbitmq::Broker;
use crate::support::{SOON, eventually};

use super::message_server;

on_both_queues!(
    poison_is_answered_with_an_error,
    some_poison_needs_no_server,
    a_task_waits_for_its_server,
    what_keeps_failing_dies_and_comes_back,
);

fn poison_is_answered_with_an_error(place: Place) {
    let server = message_server();
    let poison: [&OsStr; 5] = [
        OsStr::from_bytes(b"\xff\xfe"),
        OsStr::new("fact:-1"),
        OsStr::new("fact:abc"),
        OsStr::new("fact:20001"),
        OsStr::new("freq:"),
    ];
    let mut ids = place.send(&poison);
    for nothing in ["", " ,\n,"] {
        ids.push(format!("nothing {}", ids.len()));
        place.publish(&ids[ids.len() - 1], nothing);
    }
    let good = place.send(&["fact:3"]);
    let _worker = place.work(&server.address(), &[]);
    let jobs = place.wait_for(8);
    assert_eq!(jobs[&good[0]]["result"], "6", "poison does not stop others");
    let named = [
        "UTF-8", "-1", "\"abc\"", "20001", "letters", "empty", "empty",
    ];
    for (id, named) in ids.iter().zip(named) {
        let job = &jobs[id];
        let error = text(&job["error"]);
        assert!(
            error.starts_with("INVALID_ARGUMENT: ") && error.contains(named),
            "{job}"
        );
        assert_eq!(
            (&job["state"], &job["result"]),
            (&"failed".into(), &Value::Null)
        );
        assert_eq!(job["attempts"], 1, "it is not tried again");
    }
    assert_eq!(place.dead(&["list", "--json"]).trim(), "[]");
}

fn some_poison_needs_no_server(place: Place) {
    let long = OsString::from("freq:".to_owned() + &"a".repeat(32 * 1024));
    place.send(&[long, "fact:abc".into()]);
    place.publish("nothing", "");
    place.publish("too many", &"a,".repeat(1001));
    let _worker = place.work(&format!("127.0.0.1:{}", free_port()), &[]);
    for job in place.wait_for(4).values() {
        assert_eq!(job["state"], "failed", "{job}");
        assert!(text(&job["task"]).len() <= 32 * 1024);
    }
}

#[test]
fn a_mebibyte_of_a_plain_producer_is_poison_too() {
    let place = Place::rabbitmq();
    place.pika(
        "channel.queue_declare(queue=queue, durable=True)\n\
         channel.basic_publish('', queue, b'x' * (1 << 20))",
    );
    let _worker = place.work(&format!("127.0.0.1:{}", free_port()), &[]);
    let jobs = place.wait_for(1);
    let job = jobs.values().next().unwrap();
    assert!(text(&job["error"]).contains("1048576 bytes"));
    assert_eq!(text(&job["task"]).len(), 32 * 1024, "no more of it is kept");
}

fn a_task_waits_for_its_server(place: Place) {
    let port = free_port();
    let ids = place.send(&["fact:7"]);
    let worker = place.work(&format!("127.0.0.1:{port}"), &["--attempts", "1"]);
    let waiting = || {
        let jobs = place.list(&["--state", "queued"]);
        jobs.first().is_some_and(|job| !job["error"].is_null())
    };
    eventually(A_WHILE, "it is known that the task waits", waiting);
    let job = &place.list(&["--state", "queued"])[0];
    assert!(text(&job["error"]).starts_with("UNAVAILABLE"), "{job}");
    assert_eq!(
        (&job["attempts"], &job["id"]),
        (&0.into(), &ids[0].clone().into())
    );
    let _server = Server::start_on(port, &["--services", "message"]);
    assert_eq!(worker.line(A_WHILE).as_deref(), Some("fact:7 -> 5040"));
    let jobs = place.wait_for(1);
    let job = &jobs[&ids[0]];
    assert_eq!((&job["attempts"], &job["error"]), (&1.into(), &Value::Null));
}

fn what_keeps_failing_dies_and_comes_back(place: Place) {
    let port = free_port();
    // UNIMPLEMENTED: the server lacks the service.
    let server = Server::start_on(port, &["--services", "chat"]);
    let ids = place.send(&["fact:4", "fact:5", "user42"]);
    let worker = place.work(&server.address(), &["--attempts", "2", "--workers", "3"]);
    let jobs = place.wait_for(3);
    for id in &ids {
        assert_eq!(jobs[id]["state"], "dead", "{}", jobs[id]);
        assert_eq!(jobs[id]["attempts"], 2);
    }
    let listed =
        || -> Vec<Value> { serde_json::from_str(&place.dead(&["list", "--json"])).unwrap() };
    eventually(A_WHILE, "three are dead", || listed().len() == 3);
    for dead in listed() {
        assert!(ids.contains(&text(&dead["id"])));
        assert!(text(&dead["reason"]).starts_with("UNIMPLEMENTED"), "{dead}");
        assert_eq!(dead["attempts"], 2);
    }
    assert_eq!(listed().len(), 3, "looking takes none out");
    drop((server, worker));
    let server = Server::start_on(port, &["--services", "message"]);
    let _worker = place.work(&server.address(), &[]);
    assert_eq!(place.dead(&["requeue", &ids[1]]), "1 requeued\n");
    let state = |id: &str| {
        let jobs = place.list(&[]);
        let job = jobs.iter().find(|job| job["id"] == id).cloned();
        job.map(|job| text(&job["state"]))
    };
    eventually(A_WHILE, "the one is done", || {
        state(&ids[1]).as_deref() == Some("done")
    });
    assert_eq!(state(&ids[0]).as_deref(), Some("dead"));
    assert_eq!(place.dead(&["requeue"]), "2 requeued\n");
    eventually(A_WHILE, "all are done", || {
        place.list(&["--state", "done"]).len() == 3
    });
    eventually(SOON, "none is dead", || listed().is_empty());
    assert_eq!(place.list(&[]).len(), 3, "each has one result");
}

#[test]
fn a_broker_that_hangs_is_noticed_and_connected_to_again() {
    let (broker, server) = (Broker::start(), message_server());
    let place = Place::at(&broker.url());
    let worker = place.work(&server.address(), &[]);
    place.send(&["fact:3"]);
    assert_eq!(worker.line(A_WHILE).as_deref(), Some("fact:3 -> 6"));
    broker.hang();
    let mut sender = place.jobs(&["send", "--timeout", "1s", "fact:4"]);
    assert_eq!(sender.wait_exit(A_WHILE), 1, "{}", sender.log());
    assert_eq!(sender.line(SOON), None, "nothing is claimed");
    // The heartbeat tells after twenty seconds; then each try takes five.
    let tries = || worker.log().matches("RabbitMQ at").count();
    eventually(A_WHILE, "three tries have failed", || tries() >= 4);
    assert!(worker.threads_named("lapin") <= 2, "a thread for each try");
    broker.wake();
    place.send(&["fact:5"]);
    let mut lines = std::iter::from_fn(|| worker.line(A_WHILE));
    assert!(lines.any(|line| line == "fact:5 -> 120"));
}
