//! Our programs before servers with TLS, ours and Python's.

use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::http::{flush, request, send};
use crate::support::jobs::Place;
use crate::support::programs::{
    Bridge, Console, Program, Python, Server, messenger, messenger_with,
};
use crate::support::tls::{ca, flags};
use crate::support::{SOON, eventually};

const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// Each of these commands ends with 0, and writes these words.
fn run(server: &str, ca: &str, commands: &[(&[&str], &str)]) {
    for (command, words) in commands {
        let flags = ["--server", server, "--tls-ca", ca];
        let mut process = messenger(&[command, &flags[..]].concat());
        assert_eq!(process.wait_exit(SOON), 0, "{command:?}: {}", process.log());
        let lines = process.lines(SOON).join("\n");
        assert!(lines.contains(words), "{command:?}: {lines}");
    }
}

/// A message goes through the bridge, there and back.
fn bridge(server: &str, ca: &str) {
    let bridge = Bridge::start(server, &["--server-tls-ca", ca]);
    eventually(SOON, "a message comes back", || {
        send(bridge.port(), "anna", "Hello");
        !flush(bridge.port()).is_empty()
    });
}

/// `messenger tail` prints what `messenger send` sends.
fn tail(server: &str, ca: &str) {
    let tail = messenger(&["tail", "--json", "--server", server, "--tls-ca", ca]);
    tail.wait_for_log(SOON, "subscribed to");
    run(server, ca, &[(&["send", "anna", "Hello"], "Z")]);
    tail.wait_for_line(SOON, r#""text":"Hello""#);
}

fn ours() -> (Program, String, Authority) {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let server = Server::start(&flags(&pair));
    let ca = ca(&authority);
    (server, ca, authority)
}

#[test]
fn the_terminal_commands_speak_tls() {
    let (server, ca, _folder) = ours();
    let address = server.address();
    tail(&address, &ca);
    run(
        &address,
        &ca,
        &[
            (&["healthcheck"], "ok"),
            (&["call", "process", "Hello"], "HELLO"),
            (&["todo", "add", "Water the plants"], "Water the plants"),
            (&["todo", "list"], "Water the plants"),
            (&["ticker", "AAPL"], "AAPL"),
        ],
    );
}

#[test]
fn the_systems_authorities_are_enough() {
    let (server, ca, _folder) = ours();
    let address = server.address();
    let system = ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", ca.as_str());
    let send = ["send", "--server", &address, "--tls", "anna", "Hello"];
    let mut process = messenger_with(&send, &[system]);
    assert_eq!(process.wait_exit(SOON), 0, "{}", process.log());
}

#[test]
fn bridge_and_console_speak_tls_to_a_server() {
    let (server, ca, _folder) = ours();
    let address = server.address();
    bridge(&address, &ca);
    let console = Console::start(&address, &["--server-tls-ca", &ca]);
    let message = json!({"author": "anna", "text": "Hello"}).to_string();
    let json = ("Content-Type", "application/json");
    let answer = request("POST", console.port(), "/api/chat", &[json], &message);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn workers_speak_tls_to_the_message_server() {
    let (server, ca, _folder) = ours();
    let place = Place::embedded();
    let _worker = place.work(&server.address(), &["--tls-ca", &ca]);
    place.send(&["fact:5"]);
    let jobs = place.wait_for(1);
    let job = jobs.values().next().expect("a job");
    assert_eq!(job["result"], "120", "{job}");
}

#[test]
fn ours_speak_tls_to_a_python_server() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let server = Python::tls_server(&pair);
    let ca = ca(&authority);
    bridge(&server.address(), &ca);
    tail(&server.address(), &ca);
}
