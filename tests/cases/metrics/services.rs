//! What bridge, console, log and worker count, after known traffic.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::http::{flush, post, request, send};
use crate::support::jobs::{Place, on_both_queues};
use crate::support::metrics::{Scrape, wait_for};
use crate::support::process::Process;
use crate::support::programs::{Bridge, Console, Log, Server, free_port, metrics_port};

const PORT: [&str; 2] = ["--metrics-port", "0"];
const HTTP: &str = "http_requests_total";

#[test]
fn a_bridge_counts_requests_by_status_and_its_postbox() {
    let server = Server::start(&["--services", "chat"]);
    let small = ["--postbox-messages", "3", "--memory-limit", "268435456"];
    let bridge = Bridge::start(&server.address(), &[&PORT[..], &small].concat());
    let (port, metrics) = (bridge.port(), bridge.metrics_port());
    for number in 0..5 {
        send(port, "anna", &number.to_string());
    }
    wait_for(metrics, "messenger_dropped_total", &["messages"], 2.0);
    assert_eq!(
        Scrape::of(metrics).sum("messenger_postbox_messages", &[]),
        3.0
    );
    assert_eq!(flush(port).len(), 3);
    assert_eq!(post(port, "/sendMessage", "{").status, 400);
    assert_eq!(request("GET", port, "/sendMessage", &[], "").status, 405);
    assert_eq!(
        request("GET", port, "/secret?token=secret", &[], "").status,
        404
    );
    assert_eq!(malformed(port), "HTTP/1.1 400 Bad Request");
    for (name, labels, value) in [
        (HTTP, &["\"bridge\"", "\"200\""][..], 6.0),
        (HTTP, &["\"bridge\"", "\"400\""], 2.0),
        (HTTP, &["\"bridge\"", "\"404\""], 1.0),
        (HTTP, &["\"bridge\"", "\"405\""], 1.0),
        ("http_request_duration_seconds_count", &["\"bridge\""], 10.0),
        ("messenger_postbox_messages", &[], 0.0),
        ("messenger_memory_held_bytes", &["\"bridge\""], 0.0),
        (
            "messenger_memory_limit_bytes",
            &["\"bridge\""],
            268_435_456.0,
        ),
        ("messenger_dropped_total", &["\"log_lines\""], 0.0),
    ] {
        // A request counts when its answer is written, which its client may see before.
        wait_for(metrics, name, labels, value);
    }
    let scrape = Scrape::of(metrics);
    assert!(!scrape.text.contains("secret"), "{}", scrape.text);
}

/// The first line of the answer to what is no request.
fn malformed(port: u16) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"GET /\x00 HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_connection_too_many_counts_too() {
    let server = Server::start(&["--services", "chat"]);
    let one = ["--http-connections", "1"];
    let bridge = Bridge::start(&server.address(), &[&PORT[..], &one].concat());
    let mut first = TcpStream::connect(("127.0.0.1", bridge.port())).unwrap();
    // One that is under way is not closed for another.
    first.write_all(b"POST /sendMessage HTTP/1.1\r\n").unwrap();
    bridge.wait_for_threads("http-conn-", 1);
    crate::support::eventually(crate::support::SOON, "a refusal", || {
        let mut second = TcpStream::connect(("127.0.0.1", bridge.port())).unwrap();
        let mut answer = String::new();
        second.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 503")
    });
    let refused = Scrape::of(bridge.metrics_port()).sum(HTTP, &["\"bridge\"", "\"503\""]);
    assert!(refused >= 1.0, "{refused}");
}

#[test]
fn a_console_counts_its_pages_and_calls() {
    let server = Server::start(&[]);
    let console = Console::start(&server.address(), &PORT);
    let port = console.port();
    assert_eq!(request("GET", port, "/", &[], "").status, 200);
    let json = [("Content-Type", "application/json")];
    let sent = r#"{"author":"anna","text":"Hello"}"#;
    assert_eq!(request("POST", port, "/api/chat", &json, sent).status, 200);
    assert_eq!(request("POST", port, "/api/chat", &[], sent).status, 415);
    let metrics = console.metrics_port();
    wait_for(metrics, HTTP, &["\"console\"", "\"200\""], 2.0);
    wait_for(metrics, HTTP, &["\"console\"", "\"415\""], 1.0);
    let slow = Scrape::of(metrics).sum("messenger_slow_consumers_total", &["\"console\""]);
    assert_eq!(slow, 0.0);
}

#[test]
fn a_log_counts_its_batches_and_commits() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let log = Log::listening(Log::spawn(
        &[&PORT[..], &["--data-dir", data]].concat(),
        &[],
    ));
    for number in 0..7 {
        let body = format!(r#"{{"sender":"anna","text":"{number}"}}"#);
        assert_eq!(post(log.port(), "/", &body).status, 200);
    }
    assert_eq!(post(log.port(), "/", "{}").status, 400);
    // One after the other: a transaction each.
    for (name, labels, value) in [
        ("messenger_log_batch_messages_sum", &[][..], 7.0),
        ("messenger_log_batch_messages_count", &[], 7.0),
        ("messenger_log_batch_messages_bucket", &["le=\"1\""], 7.0),
        (
            "messenger_commit_seconds_count",
            &["store=\"history\""],
            7.0,
        ),
        (HTTP, &["\"history\"", "\"200\""], 7.0),
        (HTTP, &["\"history\"", "\"400\""], 1.0),
    ] {
        wait_for(log.metrics_port(), name, labels, value);
    }
}

on_both_queues!(a_worker_counts_attempts_jobs_and_the_depth_of_its_queue);

fn a_worker_counts_attempts_jobs_and_the_depth_of_its_queue(place: Place) {
    let server = Server::start(&["--services", "message"]);
    let start = |target: &str, flags: &[&str]| -> (Process, u16) {
        let arguments = [&["work", "--target", target][..], &PORT, flags].concat();
        let worker = place.jobs(&arguments);
        let port = metrics_port(&worker);
        (worker, port)
    };
    place.send(&["user42", "fact:5", "fact:-1"]);
    let (worker, port) = start(&server.address(), &[]);
    place.wait_for(3);
    let of = |port, name: &str, label: &str| Scrape::of(port).sum(name, &[label]);
    wait_for(port, "messenger_jobs_queue_depth", &["\"waiting\""], 0.0);
    wait_for(port, "messenger_jobs_total", &["\"done\""], 2.0);
    wait_for(port, "messenger_jobs_total", &["\"failed\""], 1.0);
    assert_eq!(of(port, "messenger_jobs_attempts_total", "\"OK\""), 2.0);
    wait_for(port, "messenger_jobs_queue_depth", &["\"dead\""], 0.0);
    let commits = of(port, "messenger_commit_seconds_count", "\"jobs\"");
    assert!((1.0..=3.0).contains(&commits), "{commits}");
    drop(worker);

    // A server without the service: UNIMPLEMENTED, so that each task dies.
    let wrong = Server::start(&["--services", "chat"]);
    let (dying, port) = start(&wrong.address(), &["--attempts", "2"]);
    place.send(&["user1"]);
    wait_for(port, "messenger_jobs_queue_depth", &["\"dead\""], 1.0);
    wait_for(port, "messenger_jobs_queue_depth", &["\"waiting\""], 0.0);
    assert_eq!(of(port, "messenger_jobs_total", "\"dead\""), 1.0);
    assert_eq!(
        of(port, "messenger_jobs_attempts_total", "\"UNIMPLEMENTED\""),
        2.0
    );
    let retrying = "messenger_jobs_retrying";
    assert_eq!(of(port, retrying, "\"UNIMPLEMENTED\""), 0.0, "it is dead");

    drop(dying);

    // Nobody there: it waits.
    let nobody = format!("127.0.0.1:{}", free_port());
    let (_other, port) = start(&nobody, &[]);
    place.send(&["user2", "user3"]);
    wait_for(port, retrying, &["\"UNAVAILABLE\""], 1.0);
}
