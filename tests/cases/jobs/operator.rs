//! What an operator does with many jobs: looks at them, moves them, waits for them, and
//! deletes them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use messenger::fanout::clock::Timestamp;
use messenger::jobs::job::{Job, State};
use messenger::jobs::results;
use serde_json::Value;

use crate::support::eventually;
use crate::support::jobs::{A_WHILE, Place, everything, on_both_queues, text};
use crate::support::process::{Signal, command};
use crate::support::programs::Server;

use super::message_server;

on_both_queues!(
    many_dead_letters_are_moved_and_listed,
    one_job_is_found_and_waited_for,
);

/// Written by somebody else, and more than one step takes; acknowledgements go on meanwhile.
#[test]
fn foreign_dead_letters_are_listed_and_requeued_while_others_work() {
    let place = Place::rabbitmq();
    let server = message_server();
    place.send(&["fact:1"]);
    place.pika(
        "for n in range(4000):\n  \
             channel.basic_publish('', queue + '.dead', b'fact:2', pika.BasicProperties(\n\
                 message_id=f'{n:05}', headers={'x-messenger-reason': 'r' * 900}))",
    );
    let lister = place.jobs(&["dead", "list", "--json", "--limit", "100000"]);
    let listed: Vec<Value> = serde_json::from_str(&everything(&lister)).unwrap();
    let ids: Vec<_> = listed.iter().map(|dead| text(&dead["id"])).collect();
    let expected: Vec<_> = (0..4000).map(|n| format!("{n:05}")).collect();
    assert_eq!(ids, expected, "each once, in their order");
    let short = place.dead(&["list", "--limit", "300"]);
    assert_eq!(short.lines().count(), 300);
    let worker = place.work(&server.address(), &["--prefetch", "64"]);
    assert_eq!(worker.line(A_WHILE).as_deref(), Some("fact:1 -> 1"));
    let mut requeuer = place.jobs(&["dead", "requeue"]);
    for _ in 0..300 {
        assert_eq!(worker.line(A_WHILE).as_deref(), Some("fact:2 -> 2"));
    }
    assert_eq!(everything(&requeuer), "4000 requeued\n");
    assert_eq!(requeuer.wait_exit(A_WHILE), 0);
    let depth = place.desk().depth(A_WHILE).unwrap();
    assert_eq!(depth.dead, 0);
}

/// More than are moved at a time.
const MANY: usize = 700;

fn many_dead_letters_are_moved_and_listed(place: Place) {
    // UNIMPLEMENTED: the server lacks the service.
    let server = Server::start(&["--services", "chat"]);
    let tasks: Vec<_> = (0..MANY).map(|n| format!("fact:{n}")).collect();
    let ids = place.send(&tasks);
    let flags = ["--attempts", "1", "--workers", "4", "--prefetch", "64"];
    let mut worker = place.work(&server.address(), &flags);
    let desk = place.desk();
    let dead = |count: u64| {
        eventually(A_WHILE, "they are dead", || {
            desk.depth(A_WHILE).is_ok_and(|depth| depth.dead == count)
        });
    };
    dead(MANY as u64);
    // Killed, it might leave the last of them unacknowledged: they would come again.
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait_exit(A_WHILE), 0);
    drop(server);
    let listed = place.dead(&["list", "--json", "--limit", "100000"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), MANY);
    let last = text(&listed[MANY - 1]["id"]);
    assert_eq!(
        place.dead(&["requeue", &last, &ids[0], "nobody"]),
        match last == ids[0] {
            true => "1 requeued\n",
            false => "2 requeued\n",
        }
    );
    let rest = MANY - if last == ids[0] { 1 } else { 2 };
    dead(rest as u64);
    assert_eq!(place.dead(&["requeue"]), format!("{rest} requeued\n"));
    dead(0);
    assert_eq!(desk.depth(A_WHILE).unwrap().waiting, MANY as u64);
    let queued = place.list(&["--state", "queued"]);
    assert!(
        queued.iter().all(|job| job["attempts"] == 0),
        "as if never tried"
    );
}

/// As `| head -n 1` does: the pipe is closed after one line.
fn first_line(place: &Place, arguments: &[&str]) -> (String, String) {
    let mut lister = command(env!("CARGO_BIN_EXE_messenger"));
    lister
        .arg("jobs")
        .args(arguments)
        .arg("--data-dir")
        .arg(place.folder());
    lister
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_remove("AMQP_URL");
    let mut lister = lister.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(lister.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    drop(out);
    let output = lister.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    (line, errors)
}

/// So many that no pipe takes them.
fn stored(place: &Place, count: i64) {
    let folder = results::Place::Folder(place.folder().into());
    let mut store = results::open(&folder).unwrap();
    let jobs: Vec<_> = (0..count)
        .map(|n| Job {
            id: format!("job-{n}"),
            task: b"fact:3".to_vec(),
            state: State::Done,
            result: Some("6".repeat(300)),
            error: None,
            attempts: 1,
            worker: None,
            // Several at the same time.
            queued_at: Some(Timestamp::from_nanos(n / 3)),
            started_at: None,
            finished_at: None,
        })
        .collect();
    store.commit(&jobs).unwrap();
}

#[test]
fn a_list_may_be_cut_off_and_holds_nothing_meanwhile() {
    let place = Place::embedded();
    stored(&place, 3000);
    let all = place.list(&[]);
    let ids: Vec<_> = all.iter().map(|job| text(&job["id"])).collect();
    let expected: Vec<_> = (0..3000).rev().map(|n| format!("job-{n}")).collect();
    assert_eq!(ids, expected, "no page is left out, and none comes twice");
    assert!(first_line(&place, &["list"]).0.contains("task"));
    assert_eq!(first_line(&place, &["list", "--json"]).0, "[\n");
    // While somebody reads slowly, the store can forget what it has written.
    let lister = place.jobs(&["list", "--json"]);
    lister.line(A_WHILE).unwrap();
    let file = place.folder() + "/jobs.sqlite3";
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute("UPDATE jobs SET attempts = 2", [])
        .unwrap();
    let busy = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = || {
        connection
            .query_row(busy, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    eventually(A_WHILE, "nobody reads", || busy() == 0);
    drop(lister);
}

fn one_job_is_found_and_waited_for(place: Place) {
    let server = message_server();
    let send = |task: &str| {
        let sender = place.jobs(&["send", "--id", "order-17", task]);
        everything(&sender)
    };
    assert_eq!(
        send("fact:5, fact:abc"),
        "sent order-17.1 fact:5\nsent order-17.2 fact:abc\n"
    );
    let waiting = place.jobs(&["wait", "order-17.1"]);
    let worker = place.work(&server.address(), &[]);
    assert_eq!(everything(&waiting), "order-17.1 done 120\n");
    let mut failed = place.jobs(&["wait", "order-17.1", "order-17.2"]);
    let said = everything(&failed);
    assert!(
        said.starts_with("order-17.1 done 120\norder-17.2 failed INVALID"),
        "{said}"
    );
    assert_eq!(failed.wait_exit(A_WHILE), 1);
    // Sent once more, it keeps its first result.
    send("fact:5, fact:abc");
    for _ in 0..4 {
        worker.line(A_WHILE).unwrap();
    }
    let job: Value =
        serde_json::from_str(&everything(&place.jobs(&["get", "order-17.1"]))).unwrap();
    assert_eq!(
        (&job["result"], &job["task"]),
        (&"120".into(), &"fact:5".into())
    );
    assert_eq!(place.list(&[]).len(), 2);
    for arguments in [
        &["get", "nobody"][..],
        &["wait", "--timeout", "100ms", "nobody"],
        &["send", "--id", "a", "fact:1", "fact:2"],
    ] {
        let mut process = place.jobs(arguments);
        assert_eq!(process.wait_exit(A_WHILE), 1, "{arguments:?}");
        assert!(!process.log().contains("panicked"));
    }
    let prune = |age: &str| everything(&place.jobs(&["prune", "--older-than", age]));
    assert_eq!(prune("1h"), "0 deleted\n");
    assert_eq!(prune("0s"), "2 deleted\n");
    assert_eq!(place.list(&[]), [] as [Value; 0]);
}
