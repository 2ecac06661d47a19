//! Jobs from outside: the same tests on RabbitMQ and on the embedded queue.

mod chaos;
mod crashes;
mod failures;
mod load;
mod operator;
mod poison;
mod python;
mod queues;
mod results;
mod several;

use std::time::Duration;

use serde_json::Value;

use crate::support::jobs::{Place, everything, expected, on_both_queues, text};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Database;
use crate::support::process::{Signal, command};
use crate::support::programs::{Program, Server, free_port, messenger};
use crate::support::{SOON, eventually, nanos};

/// A server with the message service alone.
fn message_server() -> Program {
    Server::start(&["--services", "message"])
}

on_both_queues!(
    results_are_listed,
    a_page_can_send_and_see,
    a_worker_says_what_it_does_and_ends_on_a_signal,
);

fn results_are_listed(place: Place) {
    let server = message_server();
    assert_eq!(place.list(&[]), [] as [Value; 0]);
    let ids = place.send(&["user42", "fact:30", "freq:a\\,b\u{7}", "user42"]);
    let tasks = ["user42", "fact:30", "freq:a,b\u{7}", "user42"];
    let worker = place.work(&server.address(), &["--name", "w"]);
    place.wait_for(4);
    let jobs = place.list(&[]);
    let listed: Vec<_> = jobs.iter().rev().map(|job| text(&job["id"])).collect();
    assert_eq!(listed, ids, "newest first, and equal texts are two tasks");
    for (job, task) in jobs.iter().rev().zip(tasks) {
        let fields: Vec<_> = job.as_object().unwrap().keys().cloned().collect();
        let names = "attempts,error,finishedAt,id,queuedAt,result,startedAt,state,task,worker";
        assert_eq!(fields.join(","), names);
        assert_eq!(job["task"], task);
        assert_eq!(job["result"], expected(task));
        assert_eq!(job["state"], "done");
        assert_eq!(job["error"], Value::Null);
        assert_eq!(job["attempts"], 1);
        assert_eq!(job["worker"], "w/1");
        let times = ["queuedAt", "startedAt", "finishedAt"].map(|name| nanos(&text(&job[name])));
        assert!(times.is_sorted(), "{job}");
    }
    assert_eq!(place.list(&["--limit", "2"]), jobs[..2]);
    assert_eq!(place.list(&["--state", "done", "--limit", "1"]), jobs[..1]);
    assert_eq!(place.list(&["--state", "failed"]), [] as [Value; 0]);
    assert_eq!(place.list(&["--state", "queued"]), [] as [Value; 0]);
    let table = everything(&place.jobs(&["list"]));
    assert!(table.contains("freq:a,b\u{fffd}"), "{table}");
    drop(worker);
}

fn a_page_can_send_and_see(place: Place) {
    let server = message_server();
    let desk = place.desk();
    let mut worker = place.work(&server.address(), &["--prefetch", "2"]);
    let depth = || desk.depth(SOON).unwrap();
    eventually(SOON, "a consumer", || depth().consumers == 1);
    let ids = desk.send(&["user1".into(), "fact:5".into()], SOON).unwrap();
    let jobs = place.wait_for(2);
    assert_eq!(jobs[&ids[1]]["result"], "120");
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait_exit(SOON), 0);
    eventually(SOON, "no consumer", || depth().consumers == 0);
    desk.send(&["user2".into()], SOON).unwrap();
    eventually(SOON, "a task waits", || depth().waiting == 1);
}

fn a_worker_says_what_it_does_and_ends_on_a_signal(place: Place) {
    let server = message_server();
    let mut worker = place.work(&server.address(), &[]);
    place.send(&["fact:4"]);
    assert_eq!(worker.line(SOON).as_deref(), Some("fact:4 -> 24"));
    place.send(&["fact:-4"]);
    let line = worker.line(SOON).unwrap();
    assert!(
        line.starts_with("fact:-4 -> failed: INVALID_ARGUMENT"),
        "{line}"
    );
    worker.signal(Signal::INT);
    assert_eq!(worker.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn without_a_broker_nothing_is_claimed() {
    let place = Place::at(&format!("amqp://user:password@127.0.0.1:{}", free_port()));
    let mut sender = place.jobs(&["send", "--timeout", "1s", "user42"]);
    assert_eq!(everything(&sender), "");
    assert_eq!(sender.wait_exit(SOON), 1);
    let log = sender.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("messenger: ") && last.contains("127.0.0.1"),
        "{log}"
    );
    assert_eq!(place.list(&[]), [] as [Value; 0], "results need no broker");
}

#[test]
fn the_variables_choose_the_queue() {
    let refused = |arguments: &[&str], url: Option<&str>| {
        let mut command = command(env!("CARGO_BIN_EXE_messenger"));
        let folder = tempfile::tempdir().unwrap();
        command
            .args(["jobs", "send", "--timeout", "100ms", "user42"])
            .args(arguments);
        command.arg("--data-dir").arg(folder.path());
        command.envs(url.map(|url| ("AMQP_URL", url)));
        let mut sender = crate::support::process::Process::spawn(command);
        let code = sender.wait_exit(SOON);
        (code != 0).then(|| sender.log())
    };
    let nobody = format!("amqp://user:password@127.0.0.1:{}", free_port());
    assert_eq!(refused(&[], None), None, "embedded");
    assert!(refused(&[], Some(&nobody)).unwrap().contains("127.0.0.1"));
    assert_eq!(refused(&["--queue", "embedded"], Some(&nobody)), None);
    let named = refused(&[], Some("http://localhost")).unwrap();
    assert!(named.contains("AMQP_URL"), "{named}");
}

#[test]
fn the_demo_works_on_tasks_of_its_data_folder() {
    let place = Place::embedded();
    let folder = place.folder();
    let ports = ["--port", "0", "--also-port", "0", "--http-port", "0"];
    let mut demo = messenger(&[&["demo", "--data-dir", &folder], &ports[..]].concat());
    let ids = place.send(&["fact:6"]);
    assert_eq!(place.wait_for(1)[&ids[0]]["result"], "720");
    demo.signal(Signal::INT);
    assert_eq!(demo.wait_exit(SOON), 0);
}

/// With a pooler too that gives each transaction another connection.
#[test]
fn results_can_be_in_postgresql() {
    let (one, other) = (Database::new(), Database::new());
    let pooler = PgBouncer::start(&other.url, "transaction");
    for url in [one.url.clone(), pooler.before(&other.url)] {
        let mut place = Place::embedded();
        place.store = Some(url);
        results_are_listed(place);
    }
}

/// What belongs to a session, of which there is none: the lock of the migrations, prepared
/// statements, settings.
#[test]
fn workers_behind_a_transaction_pooler_start_together_and_lose_nothing() {
    let database = Database::new();
    let pooler = PgBouncer::start(&database.url, "transaction");
    let mut place = Place::embedded();
    place.store = Some(pooler.before(&database.url));
    let server = message_server();
    let address = server.address();
    let flags = ["--workers", "4", "--prefetch", "8"];
    let workers: Vec<_> = (0..3).map(|_| place.work(&address, &flags)).collect();
    let tasks: Vec<_> = (0..300).map(|n| format!("fact:{}", n % 50)).collect();
    let ids = place.send(&tasks);
    let jobs = place.wait_for(300);
    for (id, task) in ids.iter().zip(&tasks) {
        assert_eq!(jobs[id]["result"], expected(task));
    }
    for mut worker in workers {
        worker.signal(Signal::TERM);
        assert_eq!(worker.wait_exit(SOON), 0);
        assert!(!worker.log().contains("cannot store"), "{}", worker.log());
    }
}
