//! What the server tells of streams and calls, as it stands on standard error.

use std::time::Duration;

use messenger::ticker::client::TickerClient;
use messenger::todo::client::TodoClient;
use serde_json::Value;

use crate::support::process::{Process, Signal, command};
use crate::support::programs::{Program, Python, Server};
use crate::support::rpc::{Crowd, client, connection, send};
use crate::support::{SOON, eventually, heavy};

/// A server that logs one JSON object a line.
fn server(flags: &[&str]) -> Program {
    Server::start(&[&["--log-format", "json"], flags].concat())
}

/// The fields of the lines whose message starts so.
fn lines(server: &Program, message: &str) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let fields = lines.map(|line: Value| line["fields"].clone());
    let is = |fields: &Value| fields["message"].as_str().unwrap().starts_with(message);
    fields.filter(is).collect()
}

/// The first such line, as soon as it is there.
fn line(server: &Program, message: &str) -> Value {
    eventually(SOON, message, || !lines(server, message).is_empty());
    lines(server, message).remove(0)
}

#[test]
fn a_reader_that_comes_and_goes_is_told_with_address_and_count() {
    let server = server(&[]);
    let mut reader = Python::reader(&["read", &server.address(), "--count", "3"]);
    let opened = line(&server, "stream opened");
    let method = "/mes_grpc.MessengerServer/ReadMessages";
    assert_eq!(opened["method"], method);
    let peer = opened["peer"].as_str().unwrap();
    let port = peer.strip_prefix("127.0.0.1:").expect("an address");
    assert!(port.parse::<u16>().is_ok(), "{peer}");
    let sender = client(&server.address());
    for text in ["a", "b", "c"] {
        send(&sender, "anna", text);
    }
    assert_eq!(reader.wait_exit(SOON), 0);
    let ended = line(&server, "stream ended");
    for same in ["stream", "method", "peer"] {
        assert_eq!(ended[same], opened[same]);
    }
    assert_eq!(
        (&ended["messages"], &ended["status"]),
        (&3.into(), &"CANCELLED".into())
    );
    assert!(ended["took"].as_str().unwrap().ends_with('s'), "{ended}");
    // Nothing of the calls, which are told at debug.
    assert!(lines(&server, "call").is_empty());
}

#[test]
fn a_stream_that_the_server_ends_or_refuses_is_told_with_its_status() {
    let mut server = server(&["--max-streams", "1"]);
    let address = server.address();
    let _reader = Python::reader(&["read", &address]);
    line(&server, "stream opened");
    let mut refused = Python::reader(&["read", &address]);
    assert_eq!(refused.wait_exit(SOON), 0);
    let refused = line(&server, "stream refused");
    assert_eq!(refused["status"], "RESOURCE_EXHAUSTED");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(SOON), 0);
    assert_eq!(line(&server, "stream ended")["status"], "UNAVAILABLE");
}

#[test]
fn calls_symbols_and_changes_are_told_at_debug_and_nothing_in_them_is_raw() {
    let server = server(&["--log-level", "debug"]);
    let address = server.address();
    send(&client(&address), "anna", "Hello");
    let call = line(&server, "call");
    assert_eq!(call["method"], "/mes_grpc.MessengerServer/SendMessage");
    assert_eq!(call["status"], "OK");
    assert!(call["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(call["took"].as_str().unwrap().ends_with('s'), "{call}");

    let todo = TodoClient::over(connection(&address), SOON);
    let task = todo.add("a\u{1b}[31m\nb").unwrap();
    let changed = line(&server, "task changed");
    assert_eq!(changed["id"], task.id);
    assert_eq!(changed["title"], r#""a\u{1b}[31m\nb""#);
    assert!(todo.add(" ").is_err());
    let refused = |call: &Value| call["status"] == "INVALID_ARGUMENT";
    eventually(SOON, "a call that fails", || {
        lines(&server, "call").iter().any(refused)
    });

    let ticker = TickerClient::over(connection(&address), SOON);
    let (mut requests, mut updates) = ticker.open().unwrap();
    requests.ask("AAPL").unwrap();
    updates.recv().unwrap();
    let opened = line(&server, "stream opened");
    for told in ["subscribed AAPL", "update sent AAPL"] {
        let told = line(&server, told);
        assert_eq!(
            (&told["stream"], &told["peer"]),
            (&opened["stream"], &opened["peer"])
        );
    }
    drop((requests, updates));
    let ended = line(&server, "stream ended");
    assert_eq!(
        (&ended["stream"], &ended["messages"]),
        (&opened["stream"], &1.into())
    );
}

#[test]
fn a_storm_of_streams_is_told_in_numbers() {
    const STREAMS: usize = 2_000;
    let _machine = heavy();
    let mut server = server(&[]);
    // As many as there were, with a line of their own or in a count.
    let told = |server: &Program, message: &str, count: &str| {
        let counts = lines(server, "more streams within a second");
        let counted: u64 = counts
            .iter()
            .map(|line| line[count].as_u64().unwrap())
            .sum();
        counted as usize + lines(server, message).len()
    };
    let crowd = Crowd::open(&server.address(), 4, STREAMS / 4);
    eventually(SOON, "all are told", || {
        told(&server, "stream opened", "opened") == STREAMS
    });
    let opening = server.log().lines().count();
    // The end of a server is the end of all its streams in one moment.
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(SOON), 0);
    assert_eq!(told(&server, "stream ended", "ended"), STREAMS);
    drop(crowd);
    let all = server.log().lines().count();
    // Twenty a second and one count, over the seconds that this took.
    assert!(
        opening <= 21 * 15 && all <= 21 * 30,
        "{opening} lines, then {all}"
    );
    let short = lines(&server, "stream").len();
    assert!(short < STREAMS / 2, "{short} lines of {STREAMS}");
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut shell = command("sh");
    // A pipe that takes 64 KiB, and at whose other end nobody reads.
    let run = "pipe=$(mktemp -u) && mkfifo \"$pipe\" && exec 3<>\"$pipe\" && rm \"$pipe\" && \
               exec \"$0\" server --host 127.0.0.1 --port 0 --log-level debug 2>&3";
    shell.args(["-c", run, env!("CARGO_BIN_EXE_messenger")]);
    let mut server = Server::listening(Process::spawn(shell), 1);
    let sender = client(&server.address());
    // Each has a line of more than 100 bytes.
    for _ in 0..2_000 {
        send(&sender, "anna", "Hello");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
}
