//! At the server: the same key again, with other content, bad, forgotten, and many times at
//! once.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use messenger::error::{Code, Error};
use messenger::fanout::clock::Timestamp;
use serde_json::Value;

use crate::support::http::seen;
use crate::support::programs::{Python, Server, messenger};
use crate::support::rpc::{Reader, client, send};
use crate::support::{SOON, eventually, nanos};

/// With Python's grpcio; the time in the answer, or the error.
fn python(server: &str, key: &str, texts: &[&str]) -> Vec<Result<i64, (String, String)>> {
    let arguments = [&["send", server, "anna"], texts, &["--idempotency", key]].concat();
    let lines = Python::reader(&arguments).lines(SOON);
    let answer = |line: &String| {
        let line: Value = serde_json::from_str(line).unwrap();
        let said = |field: &str| line[field].as_str().unwrap().to_owned();
        let time = line["ns"].as_i64();
        time.ok_or_else(|| (said("code"), said("details")))
    };
    lines.iter().map(answer).collect()
}

#[test]
fn a_python_client_sends_again_and_gets_its_first_answer() {
    let server = Server::start(&[]);
    let address = server.address();
    let reader = Reader::start(&address);
    let answers = python(&address, "key-1", &["once", "once", "twice"]);
    let time = *answers[0].as_ref().unwrap();
    assert_eq!(answers[1], Ok(time));
    let (code, details) = answers[2].clone().unwrap_err();
    assert_eq!(code, "ALREADY_EXISTS");
    let said = "Idempotency-Key: it was given with another author or text";
    assert_eq!(details, said);
    for bad in ["", "a b", &"k".repeat(129)] {
        let (code, details) = python(&address, bad, &["bad"])[0].clone().unwrap_err();
        assert_eq!(code, "INVALID_ARGUMENT");
        let said = "Idempotency-Key: has to be 1 to 128 visible ASCII characters";
        assert_eq!(details, said);
    }
    let longest = python(&address, &"k".repeat(128), &["once"]);
    assert_eq!(reader.seen(), seen("anna", "once", time));
    // Another key is another message.
    let second = longest[0].as_ref().unwrap();
    assert_eq!(reader.seen(), seen("anna", "once", *second));
    let last = send(&client(&address), "anna", "once");
    assert_eq!(reader.seen(), seen("anna", "once", last));
}

#[test]
fn the_key_of_a_refused_message_is_free() {
    let server = Server::start(&["--max-text-bytes", "4"]);
    let client = client(&server.address());
    let once = |text: &str| client.send_once(Some("key"), None, "a", text, SOON);
    assert_eq!(once("12345").unwrap_err().code, Code::InvalidArgument);
    let time = once("1234").unwrap();
    assert_eq!(once("1234"), Ok(time));
    // What is refused for its length is not compared.
    assert_eq!(once("12345").unwrap_err().code, Code::InvalidArgument);
}

#[test]
fn a_server_of_another_epoch_refuses_what_was_sent_to_an_earlier_one() {
    let server = Server::start(&[]);
    let client = client(&server.address());
    let reader = Reader::start(&server.address());
    let refused = client.send_once(Some("key"), Some("earlier"), "a", "b", SOON);
    let Error { code, message, .. } = refused.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.starts_with("idempotency-epoch: "), "{message}");
    let last = client.send_once(Some("key"), None, "a", "c", SOON).unwrap();
    assert_eq!(reader.seen(), seen("a", "c", last.nanos()));
}

#[test]
fn of_too_many_keys_the_oldest_is_forgotten() {
    let server = Server::start(&["--idempotency-keys", "3"]);
    let client = client(&server.address());
    let once = |key: &str| client.send_once(Some(key), None, "a", "b", SOON).unwrap();
    let times = ["1", "2", "3"].map(once);
    assert_eq!(["1", "2", "3"].map(once), times);
    once("4");
    // By number, not by use.
    assert_eq!([once("2"), once("3")], times[1..]);
    assert!(once("1") > times[2]);
}

#[test]
fn an_old_key_is_forgotten() {
    let server = Server::start(&["--idempotency-age", "1s"]);
    let client = client(&server.address());
    let once = || client.send_once(Some("key"), None, "a", "b", SOON).unwrap();
    let began = Instant::now();
    let first = once();
    assert_eq!(once(), first);
    eventually(SOON, "another answer", || once() != first);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_key_that_comes_many_times_at_once_is_delivered_once() {
    const ROUNDS: i64 = 50;
    let server = Server::start(&[]);
    let address = server.address();
    let reader = Reader::start(&address);
    let clients: Vec<_> = (0..8).map(|_| client(&address)).collect();
    for round in 0..ROUNDS {
        let times: HashSet<Timestamp> = thread::scope(|scope| {
            let send = |client| {
                scope.spawn(move || {
                    let client: &messenger::chat::client::ChatClient = client;
                    let text = round.to_string();
                    client
                        .send_once(Some(&text), None, "a", &text, SOON)
                        .unwrap()
                })
            };
            let sent: Vec<_> = clients.iter().map(send).collect();
            sent.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let [time] = Vec::from_iter(times)[..] else {
            panic!("two times in round {round}")
        };
        assert_eq!(reader.seen(), seen("a", &round.to_string(), time.nanos()));
    }
    // Nothing came twice, or it would come before this one.
    let last = send(&clients[0], "a", "last");
    assert_eq!(reader.seen(), seen("a", "last", last));
}

#[test]
fn the_command_line_sends_once_however_often_it_is_run() {
    let server = Server::start(&[]);
    let address = server.address();
    let run = |text: &str| {
        let arguments = ["send", "--server", &address, "--key", "key-1", "anna", text];
        let mut process = messenger(&arguments);
        let lines = process.lines(SOON);
        (process.wait_exit(SOON), lines, process.log())
    };
    let (code, first, _) = run("once");
    assert_eq!(code, 0);
    assert!(nanos(&first[0]) > 0);
    assert_eq!(run("once").1, first);
    let (code, _, log) = run("twice");
    assert_eq!(code, 1);
    assert!(log.contains("another author or text"), "{log}");
}
