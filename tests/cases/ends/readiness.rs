//! /livez and /readyz: ready only while what a service needs is there, and its last
//! write went well.

use std::path::Path;

use messenger::error::Code;
use messenger::todo::client::TodoClient;
use rusqlite::Connection;

use super::{readyz, verbose};
use crate::support::http::{post, request, send};
use crate::support::process::Signal;
use crate::support::programs::{
    Bridge, Console, Log, Server, free_port, messenger, messenger_with, metrics_port,
};
use crate::support::rpc::connection;
use crate::support::{SOON, eventually};

fn becomes(port: u16, status: u16, what: &str) {
    eventually(SOON, what, || readyz(port).status == status);
}

/// Nobody else can write to this file until it is dropped; reading goes on.
fn lock(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn a_bridge_is_ready_while_its_subscription_is_live() {
    let port = free_port();
    let target = format!("127.0.0.1:{port}");
    let bridge = Bridge::start(&target, &["--connect-wait", "1ms"]);
    let http = bridge.port();
    let refused = readyz(http);
    assert_eq!(refused.status, 503);
    let expected = "[-]chat failed: no subscription is live\n[+]write ok\n[+]drain ok\n\
                    readyz check failed\n";
    assert_eq!(refused.body, expected);
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    let alive = || request("GET", http, "/livez", &[], "");
    assert_eq!((alive().status, &*alive().body), (200, "ok\n"));
    let server = Server::start_on(port, &[]);
    becomes(http, 200, "the bridge is ready");
    assert_eq!(readyz(http).body, "ok\n");
    let lines = ["[+]chat ok", "[+]write ok", "[+]drain ok", "ok"];
    assert_eq!(verbose(http), (200, lines.map(str::to_owned).to_vec()));
    assert_eq!(post(http, "/readyz", "").status, 405);
    drop(server);
    becomes(http, 503, "the bridge is not ready");
    assert_eq!(alive().status, 200);
}

#[test]
fn a_bridge_whose_message_was_not_sent_is_ready_when_the_server_answers_again() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--send-timeout", "300ms"]);
    let http = bridge.port();
    becomes(http, 200, "the bridge is ready");
    server.stop();
    let body = r#"{"author": "a", "text": "b"}"#;
    assert_eq!(post(http, "/sendMessage", body).status, 504);
    let (status, lines) = verbose(http);
    let failed = "[-]write failed: a POST was answered with 504";
    assert_eq!((status, &*lines[1]), (503, failed));
    // What the client has done wrong says nothing about the bridge.
    server.signal(Signal::CONT);
    becomes(http, 200, "the bridge is ready again, without a write");
    assert_eq!(post(http, "/sendMessage", "{").status, 400);
    assert_eq!(readyz(http).status, 200);
    send(http, "a", "b");
}

#[test]
fn a_log_that_cannot_write_is_not_ready_although_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", folder.path().to_str().unwrap()];
    let flags = [&flags[..], &["--database-timeout", "500ms"]].concat();
    let log = Log::listening(Log::spawn(&flags, &[]));
    let body = r#"{"sender": "a", "text": "b"}"#;
    assert_eq!(post(log.port(), "/", body).status, 200);
    assert_eq!(readyz(log.port()).status, 200);
    let locked = lock(&folder.path().join("history.sqlite3"));
    assert_eq!(readyz(log.port()).status, 200, "nothing was to be written");
    assert_eq!(post(log.port(), "/", body).status, 503);
    let (status, lines) = verbose(log.port());
    assert_eq!((status, &*lines[0]), (503, "[+]database ok"));
    assert!(lines[1].starts_with("[-]write failed"), "{lines:?}");
    assert_eq!(request("GET", log.port(), "/healthz", &[], "").status, 503);
    assert_eq!(request("GET", log.port(), "/livez", &[], "").status, 200);
    drop(locked);
    becomes(log.port(), 200, "the log is ready again, without a write");
    let stored = request("GET", log.port(), "/messages", &[], "").json();
    let stored = stored.as_array().unwrap();
    assert!(stored.len() <= 2, "trying stores nothing: {stored:?}");
}

#[test]
fn a_console_is_ready_while_all_that_it_shows_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::spawn(&["--data-dir", folder.path().to_str().unwrap()], &[]);
    let log = Log::listening(log);
    let server = Server::start(&["--services", "chat,ticker"]);
    let console = Console::start(&server.address(), &["--history", &log.address()]);
    becomes(console.port(), 200, "the console is ready");
    let (_, lines) = verbose(console.port());
    // There is no to-do list, and there are no jobs: nothing to wait for.
    let services = [
        "chat", "todo", "ticker", "history", "jobs", "write", "drain",
    ];
    assert_eq!(lines[..7], services.map(|name| format!("[+]{name} ok")));
    drop(log);
    becomes(console.port(), 503, "the console is not ready");
    let (_, lines) = verbose(console.port());
    assert_eq!(lines[3], "[-]history failed: not reached");
    assert_eq!(lines[0], "[+]chat ok");
}

#[test]
fn a_server_whose_tasks_cannot_be_stored_says_so_on_its_metrics_port() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let server = Server::start(&["--data-dir", data, "--metrics-port", "0"]);
    let port = server.metrics_port();
    assert_eq!((readyz(port).status, &*readyz(port).body), (200, "ok\n"));
    assert_eq!(request("GET", port, "/livez", &[], "").status, 200);
    let todo = TodoClient::over(connection(&server.address()), SOON);
    todo.add("bread").unwrap();
    let locked = lock(&folder.path().join("todo.sqlite3"));
    assert_eq!(todo.add("milk").unwrap_err().code, Code::Unavailable);
    let (status, lines) = verbose(port);
    assert_eq!(
        (status, &*lines[0]),
        (503, "[-]write failed: tasks cannot be stored")
    );
    drop(locked);
    becomes(port, 200, "the server is ready again, without a write");
    todo.add("milk").unwrap();
    assert_eq!(todo.list().unwrap().tasks().len(), 2);
}

#[test]
fn a_worker_is_ready_while_its_queue_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let flags = ["jobs", "work", "--data-dir", data, "--metrics-port", "0"];
    let worker = messenger(&flags);
    becomes(metrics_port(&worker), 200, "the worker is ready");
    let broker = format!("amqp://127.0.0.1:{}", free_port());
    let lost = messenger_with(&flags, &[("AMQP_URL", &broker)]);
    let port = metrics_port(&lost);
    becomes(port, 503, "the worker is not ready");
    let (_, lines) = verbose(port);
    assert!(lines[0].starts_with("[-]queue failed: "), "{lines:?}");
}

#[test]
fn healthcheck_asks_readyz_unless_a_path_is_given() {
    let target = format!("127.0.0.1:{}", free_port());
    let bridge = Bridge::start(&target, &["--connect-wait", "1ms"]);
    let check = |address: &str| messenger(&["healthcheck", "--http", address]).wait_exit(SOON);
    assert_eq!(check(&bridge.address()), 1);
    assert_eq!(check(&format!("{}/livez", bridge.address())), 0);
    assert_eq!(check(&format!("{}/readyz", bridge.address())), 1);
}
