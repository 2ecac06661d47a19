//! Our programs among the Python programs, in every combination. Times are
//! compared as numbers: Python's JSON leaves out trailing zeros.

use messenger::grpc::client::Proof;
use serde_json::Value;

use crate::support::http::{Seen, flush, seen, send as post_message};
use crate::support::process::Process;
use crate::support::programs::{Bridge, Program, Python, Server};
use crate::support::rpc::{Reader, client, send};
use crate::support::{SOON, eventually, heavy};

/// Two bytes, three bytes, four bytes, escapes, and a null character.
const TEXTS: [&str; 5] = ["Привет", "世界", "\u{1f980}", "\"\\\r\n\t/", "\0\u{7f}"];

/// Whose program.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    Ours,
    Python,
}

fn server(side: Side) -> Program {
    match side {
        Side::Ours => Server::start(&[]),
        Side::Python => Python::server(),
    }
}

/// Bridges whose subscriptions are live. A Python program does not show when
/// that is, so messages are sent until every bridge has one, and the last of
/// them.
pub fn bridges(sides: [(Side, &Program); 2]) -> [Program; 2] {
    let bridges = sides.map(|(side, server)| match side {
        Side::Ours => Bridge::start(&server.address(), &[]),
        Side::Python => Python::bridge(&server.address()),
    });
    let sender = client(&sides[0].1.address());
    for bridge in &bridges {
        eventually(SOON, "a first message at a bridge", || {
            send(&sender, "", "first");
            !flush(bridge.port()).is_empty()
        });
    }
    let last = send(&sender, "", "last");
    for bridge in &bridges {
        eventually(SOON, "the last of the first messages", || {
            flush(bridge.port())
                .iter()
                .any(|message| message.nanos == last)
        });
    }
    bridges
}

/// Sends through one bridge after the other, in this order, and expects the same
/// array at both.
fn exchange(bridges: &[Program; 2], messages: &[(usize, String, String)]) {
    let sent: Vec<Seen> = messages
        .iter()
        .map(|(bridge, author, text)| {
            seen(
                author,
                text,
                post_message(bridges[*bridge].port(), author, text),
            )
        })
        .collect();
    assert!(sent.windows(2).all(|pair| pair[0].nanos < pair[1].nanos));
    for bridge in bridges {
        let mut got = Vec::new();
        eventually(SOON, "all messages", || {
            got.extend(flush(bridge.port()));
            got.len() >= sent.len()
        });
        assert_eq!(got, sent);
        assert_eq!(flush(bridge.port()), [], "each message comes once");
    }
}

fn pairing(server_side: Side, bridge_side: Side) {
    let _machine = heavy();
    let server = server(server_side);
    agree(&bridges([(bridge_side, &server); 2]));
}

/// What is sent through either comes to both, in one order.
pub fn agree(bridges: &[Program; 2]) {
    let message = |n: usize, bridge: usize| {
        let text = format!("{n} {}", TEXTS[n % TEXTS.len()]);
        (bridge, format!("автор {bridge}"), text)
    };
    exchange(bridges, &[message(0, 0)]);
    exchange(bridges, &[message(1, 1)]);
    let several: Vec<_> = (0..10).map(|n| message(n, 0)).collect();
    exchange(bridges, &several);
    let interleaved: Vec<_> = (0..20).map(|n| message(n, n % 2)).collect();
    exchange(bridges, &interleaved);
    exchange(
        bridges,
        &[
            (0, String::new(), "t".into()),
            (1, "a".into(), String::new()),
        ],
    );
}

#[test]
fn our_server_and_our_bridges() {
    pairing(Side::Ours, Side::Ours);
}

#[test]
fn our_server_and_python_bridges() {
    pairing(Side::Ours, Side::Python);
}

#[test]
fn a_python_server_and_our_bridges() {
    pairing(Side::Python, Side::Ours);
}

#[test]
fn a_python_server_and_python_bridges() {
    pairing(Side::Python, Side::Python);
}

#[test]
fn a_bridge_of_each_kind_see_the_same_array_at_either_server() {
    for side in [Side::Ours, Side::Python] {
        let _machine = heavy();
        let server = server(side);
        let address = server.address();
        let mixed = [Bridge::start(&address, &[]), Python::bridge(&address)];
        let sender = client(&address);
        eventually(SOON, "a first message at the Python bridge", || {
            send(&sender, "", "first");
            !flush(mixed[1].port()).is_empty()
        });
        let last = send(&sender, "", "last");
        for bridge in &mixed {
            eventually(SOON, "the last of the first messages", || {
                flush(bridge.port())
                    .iter()
                    .any(|message| message.nanos == last)
            });
        }
        let messages: Vec<_> = (0..20)
            .map(|n| (n % 2, "a".to_owned(), n.to_string()))
            .collect();
        exchange(&mixed, &messages);
    }
}

fn line(process: &Process) -> Value {
    let line = process.line(SOON).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"))
}

/// A Python client that reads so many messages; its subscription is live.
fn python_reader(address: &str, count: usize) -> Process {
    let reader = Python::reader(&["read", address, "--count", &count.to_string()]);
    assert_eq!(line(&reader)["opened"], true);
    reader
}

fn line_seen(process: &Process) -> Seen {
    let line = line(process);
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    seen(
        &text("author"),
        &text("text"),
        line["ns"].as_i64().unwrap_or_else(|| panic!("{line}")),
    )
}

#[test]
fn a_python_client_reads_and_writes_at_our_server() {
    let server = Server::start(&[]);
    let address = server.address();
    let ours = Reader::start(&address);
    let python = python_reader(&address, 1 + 2 * TEXTS.len());
    // Its call was made, but may be under way: the server's thread is the proof.
    server.wait_for_threads("read-", 1);
    let sender = client(&address);
    let mut expected = vec![seen("", "", send(&sender, "", ""))];
    for text in TEXTS {
        expected.push(seen("анна", text, send(&sender, "анна", text)));
    }
    // A null character is the end of an argument.
    let texts = TEXTS.map(|text| text.replace('\0', "0"));
    let mut arguments = vec!["send", &address, "борис"];
    arguments.extend(texts.iter().map(String::as_str));
    let writer = Python::reader(&arguments);
    for text in &texts {
        let time = line(&writer)["ns"].as_i64().unwrap();
        expected.push(seen("борис", text, time));
    }
    for message in &expected {
        assert_eq!(line_seen(&python), *message);
        assert_eq!(ours.seen(), *message);
    }
    assert_eq!(line(&python)["code"], "OK");
}

#[test]
fn a_python_client_is_told_in_the_words_of_grpc() {
    let mut server = Server::start(&[]);
    let address = server.address();
    let health = Python::reader(&["health", &address, "mes_grpc.MessengerServer"]);
    assert_eq!(line(&health)["status"], "SERVING");
    let unknown = Python::reader(&["health", &address, "unknown"]);
    assert_eq!(line(&unknown)["code"], "NOT_FOUND");
    let refused = Python::reader(&["send", &address, &"a".repeat(257), "text"]);
    let refusal = line(&refused);
    assert_eq!(refusal["code"], "INVALID_ARGUMENT");
    assert_eq!(refusal["details"], "author: 257 bytes, the limit is 256");
    let reader = python_reader(&address, 100);
    server.wait_for_threads("read-", 1);
    let time = send(&client(&address), "a", "b");
    server.signal(crate::support::process::Signal::TERM);
    assert_eq!(line_seen(&reader), seen("a", "b", time));
    let end = line(&reader);
    assert_eq!(
        (end["code"].as_str(), end["details"].as_str()),
        (Some("UNAVAILABLE"), Some("shutting down"))
    );
    assert_eq!(server.wait_exit(SOON), 0);
}

#[test]
fn our_client_settles_for_a_python_server_and_sees_its_order() {
    let _machine = heavy();
    let server = Python::server();
    let readers = [(); 3].map(|()| Reader::start(&server.address()));
    for reader in &readers {
        assert_eq!(reader.proof, Proof::Settled);
    }
    let sender = client(&server.address());
    for number in 0..50 {
        let text = format!("{number} {}", TEXTS[number % TEXTS.len()]);
        let message = seen("анна", &text, send(&sender, "анна", &text));
        for reader in &readers {
            assert_eq!(reader.seen(), message);
        }
    }
}

#[test]
fn our_client_has_proof_from_our_server() {
    let server = Server::start(&[]);
    assert_eq!(Reader::start(&server.address()).proof, Proof::Confirmed);
}
