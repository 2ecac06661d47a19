//! Several tasks in one message, which a comma parts.

use serde_json::Value;

use crate::support::jobs::{A_WHILE, Place, everything, expected, on_both_queues, text};
use crate::support::programs::{Server, free_port};
use crate::support::{SOON, eventually};

use super::message_server;

on_both_queues!(
    each_task_of_a_message_has_its_result,
    a_sender_parts_tasks_as_a_worker_does,
    a_worker_that_dies_between_two_tasks,
    tasks_of_one_message_end_in_different_ways,
);

fn nothing_waits(place: &Place) {
    let desk = place.desk();
    eventually(A_WHILE, "the message is acknowledged", || {
        desk.depth(SOON).is_ok_and(|depth| depth.waiting == 0)
    });
}

fn each_task_of_a_message_has_its_result(place: Place) {
    let server = message_server();
    place.publish("m", r" user42, fact:6,,freq:a\,b b ,user 42,C:\dir,");
    place.publish("one", ", user1 ,");
    let worker = place.work(&server.address(), &[]);
    let jobs = place.wait_for(6);
    for (id, task) in [
        ("m.1", "user42"),
        ("m.2", "fact:6"),
        ("m.3", "freq:a,b b"),
        ("m.4", "user 42"),
        ("m.5", r"C:\dir"),
        ("one", "user1"),
    ] {
        let job = &jobs[id];
        assert_eq!(
            (&job["task"], &job["state"]),
            (&task.into(), &"done".into())
        );
        assert_eq!(job["result"], expected(task), "{job}");
    }
    assert_eq!(jobs["m.4"]["result"], "Обработано сервером: USER 42");
    let lines: Vec<_> = (0..3).map(|_| worker.line(SOON).unwrap()).collect();
    assert_eq!(lines, ["user42 -> B", "fact:6 -> 720", "freq:a,b b -> b 2"]);
    drop(worker);
    nothing_waits(&place);
}

/// The ids and the tasks that `jobs send` says it has sent.
fn sent(place: &Place, arguments: &[&str]) -> Vec<(String, String)> {
    let mut sender = place.jobs(&[&["send"], arguments].concat());
    let said = everything(&sender);
    assert_eq!(sender.wait_exit(SOON), 0, "{}", sender.log());
    let words = |line: &str| {
        let (id, task) = line.strip_prefix("sent ")?.split_once(' ')?;
        Some((id.to_owned(), task.to_owned()))
    };
    said.lines().map(|line| words(line).expect(line)).collect()
}

fn a_sender_parts_tasks_as_a_worker_does(place: Place) {
    let mut all = sent(&place, &["user42, fact:6 ,", r"freq:a\,b"]);
    let tasks: Vec<_> = all.iter().map(|(_, task)| task.as_str()).collect();
    assert_eq!(tasks, ["user42", "fact:6", "freq:a,b"]);
    let message = all[0].0.strip_suffix(".1").expect("a number");
    assert_eq!(all[1].0, format!("{message}.2"));
    assert!(!all[2].0.contains('.'), "{all:?}");
    // With the backslash, as it is said.
    all.extend(sent(&place, &["--no-split", r"freq:d, d\,e", "fact:3"]));
    assert_eq!(all[3].1, r"freq:d, d\,e");
    all.extend(sent(&place, &[]));
    assert_eq!(all[5].1, "New Task!");
    let server = message_server();
    let _worker = place.work(&server.address(), &[]);
    let jobs = place.wait_for(all.len());
    for (id, task) in all {
        assert_eq!(jobs[&id]["task"], *task);
        assert_eq!(jobs[&id]["result"], expected(&task));
    }
    for (wrong, named) in [(" ,", "none in"), (&*"a,".repeat(1001), "at most 1000")] {
        let mut sender = place.jobs(&["send", "user42", wrong]);
        assert_eq!(everything(&sender), "");
        assert_eq!(sender.wait_exit(SOON), 1);
        assert!(sender.log().contains(named), "{}", sender.log());
    }
    nothing_waits(&place);
}

fn a_worker_that_dies_between_two_tasks(place: Place) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    place.publish("m", "fact:abc, fact:4, fact:5");
    let worker = place.work(&address, &["--name", "first"]);
    // The first needs no server, and the second waits for it.
    eventually(A_WHILE, "it is at the second", || {
        let jobs = place.list(&["--state", "queued"]);
        jobs.iter()
            .any(|job| job["id"] == "m.2" && job["attempts"] == 0 && !job["error"].is_null())
    });
    // Dropping a process kills it with SIGKILL.
    drop(worker);
    let _server = Server::start_on(port, &["--services", "message"]);
    let worker = place.work(&address, &["--name", "second"]);
    let jobs = place.wait_for(3);
    assert_eq!(jobs["m.1"]["worker"], "first/1", "the first result counts");
    assert_eq!(jobs["m.1"]["state"], "failed");
    for (id, result) in [("m.2", "24"), ("m.3", "120")] {
        let job = &jobs[id];
        assert_eq!(
            (&job["worker"], &job["result"]),
            (&"second/1".into(), &result.into())
        );
    }
    let lines: Vec<_> = (0..2).map(|_| worker.line(SOON).unwrap()).collect();
    assert_eq!(lines, ["fact:4 -> 24", "fact:5 -> 120"]);
    nothing_waits(&place);
}

fn tasks_of_one_message_end_in_different_ways(place: Place) {
    // UNIMPLEMENTED: the server lacks the service.
    let server = Server::start(&["--services", "chat"]);
    let port = server.port();
    place.publish("m", r"fact:abc, freq:a\,b, user1");
    let worker = place.work(&server.address(), &["--attempts", "1"]);
    let jobs = place.wait_for(3);
    assert_eq!(jobs["m.1"]["state"], "failed");
    for id in ["m.2", "m.3"] {
        assert_eq!(jobs[id]["state"], "dead", "{}", jobs[id]);
    }
    let dead = || -> Vec<Value> { serde_json::from_str(&place.dead(&["list", "--json"])).unwrap() };
    eventually(A_WHILE, "two are dead", || dead().len() == 2);
    let listed = dead();
    for (dead, (id, task)) in listed.iter().zip([("m.2", "freq:a,b"), ("m.3", "user1")]) {
        assert_eq!((&dead["id"], &dead["task"]), (&id.into(), &task.into()));
        assert!(text(&dead["reason"]).starts_with("UNIMPLEMENTED"), "{dead}");
    }
    nothing_waits(&place);
    drop((server, worker));
    let server = Server::start_on(port, &["--services", "message"]);
    let _worker = place.work(&server.address(), &[]);
    // One is a task of its own now.
    assert_eq!(place.dead(&["requeue", "m.2"]), "1 requeued\n");
    eventually(A_WHILE, "it is done", || {
        place.list(&["--state", "done"]).len() == 1
    });
    let done = &place.list(&["--state", "done"])[0];
    assert_eq!(
        (&done["id"], &done["result"]),
        (&"m.2".into(), &"a 1".into())
    );
    assert_eq!(dead().len(), 1);
    assert_eq!(place.list(&[]).len(), 3);
}
