//! Through the bridge: its clients' keys, and its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use super::post;
use crate::chaos::proxy::Proxy;
use crate::chaos::schedule::Weather;
use crate::support::http::{self, Answer, flush, seen};
use crate::support::metrics::Scrape;
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Program, Python, Server, free_port};
use crate::support::rpc::{Reader, client, send};
use crate::support::{SOON, eventually, nanos};

fn refused(answer: &Answer, status: u16, code: &str) {
    let error = &answer.json()["error"];
    let told = (answer.status, error["code"].as_str());
    assert_eq!(told, (status, Some(code)));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("Idempotency-Key: "), "{message}");
}

fn time(answer: &Answer) -> i64 {
    assert_eq!(answer.status, 200, "{}", answer.body);
    nanos(answer.json()["sendTime"].as_str().unwrap())
}

#[test]
fn the_key_of_a_client_goes_on_to_the_server() {
    let server = Server::start(&[]);
    let bridges = [(); 2].map(|()| Bridge::start(&server.address(), &[]));
    let ports = [bridges[0].port(), bridges[1].port()];
    let first = time(&post(ports[0], "key-1", "anna", "once"));
    // By any bridge, and by gRPC.
    assert_eq!(time(&post(ports[1], "key-1", "anna", "once")), first);
    let sender = client(&server.address());
    let again = sender.send_once(Some("key-1"), None, "anna", "once", SOON);
    assert_eq!(again.unwrap().nanos(), first);
    let code = "ALREADY_EXISTS";
    refused(&post(ports[0], "key-1", "anna", "twice"), 422, code);
    refused(&post(ports[1], "key-1", "ben", "once"), 422, code);
    for key in ["", "a b", &"k".repeat(129)] {
        let answer = post(ports[0], key, "anna", "bad");
        refused(&answer, 400, "INVALID_ARGUMENT");
    }
    assert_eq!(flush(ports[0]), [seen("anna", "once", first)]);
    // The answer of before is older than what was sent since, which a flush has too.
    let newer = http::send(ports[0], "anna", "newer");
    assert_eq!(time(&post(ports[0], "key-1", "anna", "once")), first);
    assert_eq!(flush(ports[0]), [seen("anna", "newer", newer)]);
}

#[test]
fn a_key_that_is_not_ascii_is_refused_and_not_left_out() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let mut socket = TcpStream::connect(bridge.address()).unwrap();
    let body = r#"{"author":"a","text":"b"}"#;
    let head = "POST /sendMessage HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    let (key, length) = ("Idempotency-Key: schlüssel", body.len());
    let request = format!("{head}\r\n{key}\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("1 to 128 visible ASCII"), "{answer}");
}

/// A bridge behind a link, and a reader at the server.
fn behind_a_link(server: &Program, flags: &[&str]) -> (Proxy, Program, Reader) {
    let link = Proxy::start(server.port());
    let bridge = Bridge::start(&link.address(), flags);
    let reader = Reader::start(&server.address());
    warm_up(&bridge, &reader);
    (link, bridge, reader)
}

/// Returns when the bridge has the connection for its sends.
fn warm_up(bridge: &Program, reader: &Reader) {
    let time = http::send(bridge.port(), "a", "warm");
    assert_eq!(reader.seen(), seen("a", "warm", time));
    let mut got = Vec::new();
    eventually(SOON, "the message", || {
        got.extend(flush(bridge.port()));
        got.contains(&seen("a", "warm", time))
    });
}

#[test]
fn a_send_whose_answer_is_lost_succeeds_and_is_delivered_once() {
    let server = Server::start(&[]);
    let flags = ["--send-timeout", "15s", "--metrics-port", "0"];
    let (link, bridge, reader) = behind_a_link(&server, &flags);
    let (port, metrics) = (bridge.port(), bridge.metrics_port());
    let repeated = || Scrape::of(metrics).sum("messenger_sends_repeated_total", &["bridge"]);
    // What the server refuses is not sent again.
    let long = json!({"author": "a".repeat(300)}).to_string();
    assert_eq!(http::post(port, "/sendMessage", &long).status, 400);
    assert_eq!(repeated(), 0.0);
    for round in 0..20 {
        let text = round.to_string();
        warm_up(&bridge, &reader);
        link.set(Weather::OneWay { to_server: false });
        let answer = thread::scope(|scope| {
            let text = &text;
            // With a key of the bridge, or of its client.
            let sent = scope.spawn(move || match round % 2 {
                0 => http::send(port, "a", text),
                _ => time(&post(port, text, "a", text)),
            });
            // Accepted: its answer is on its way, and the connection breaks.
            let accepted = reader.next();
            link.set(Weather::Reset);
            link.set(Weather::Clear);
            let answer = sent.join().unwrap();
            assert_eq!(accepted.send_time.nanos(), answer, "of {text}");
            answer
        });
        let mut got = Vec::new();
        eventually(SOON, "the message", || {
            got.extend(flush(port));
            got.contains(&seen("a", &text, answer))
        });
        assert_eq!(got.len(), 1, "{got:?}");
        eventually(SOON, "the subscription is live again", || {
            let answer = http::post(port, "/getAndFlushMessages", "");
            assert_eq!(answer.body, "[]");
            answer.header("X-Messenger-Subscribed").is_none()
        });
    }
    assert!(repeated() >= 20.0);
    let last = send(&client(&server.address()), "a", "last");
    assert_eq!(reader.seen(), seen("a", "last", last));
}

#[test]
fn a_send_is_not_repeated_to_a_server_that_was_restarted() {
    let port = free_port();
    let mut server = Server::start_on(port, &[]);
    let (link, bridge, reader) = behind_a_link(&server, &["--send-timeout", "15s"]);
    let http = bridge.port();
    link.set(Weather::OneWay { to_server: false });
    let sent = thread::spawn(move || {
        let body = json!({"author": "a", "text": "maybe"}).to_string();
        http::post(http, "/sendMessage", &body)
    });
    assert_eq!(reader.next().text, "maybe");
    server.signal(Signal::KILL);
    server.wait_exit(SOON);
    drop(server);
    let server = Server::start_on(port, &[]);
    let reader = Reader::start(&server.address());
    link.set(Weather::Reset);
    link.set(Weather::Clear);
    let answer = sent.join().unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("may have been accepted"), "{message}");
    let last = send(&client(&server.address()), "a", "last");
    assert_eq!(reader.seen(), seen("a", "last", last));
}

#[test]
fn a_server_that_is_gone_is_waited_for_by_the_send_that_was_under_way_alone() {
    let mut server = Server::start(&[]);
    let (link, bridge, reader) = behind_a_link(&server, &["--send-timeout", "2s"]);
    let port = bridge.port();
    link.set(Weather::OneWay { to_server: false });
    let body = json!({"author": "a", "text": "maybe"}).to_string();
    let sent = thread::spawn(move || http::post(port, "/sendMessage", &body));
    assert_eq!(reader.next().text, "maybe");
    server.signal(Signal::KILL);
    server.wait_exit(SOON);
    link.set(Weather::Reset);
    let answer = sent.join().unwrap();
    assert!([503, 504].contains(&answer.status), "{}", answer.body);
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("may have been accepted"), "{message}");
    // Nothing is said of this one, which has reached nobody.
    let answer = http::post(port, "/sendMessage", "{}");
    assert_eq!(answer.status, 503);
    let message = answer.json()["error"]["message"].to_string();
    assert!(!message.contains("may have been accepted"), "{message}");
}

#[test]
fn a_server_that_knows_no_keys_gets_none_of_the_bridge_and_each_send_once() {
    let port = free_port();
    let process = Python::spawn("keys_server.py", &[&port.to_string()], &[]);
    let address = format!("127.0.0.1:{port}");
    let flags = ["--connect-wait", "300ms", "--send-timeout", "10s"];
    let bridge = Bridge::start(&address, &flags);
    let http = bridge.port();
    let say = |text: &str| {
        let body = json!({"author": "a", "text": text}).to_string();
        http::post(http, "/sendMessage", &body).status
    };
    eventually(SOON, "the server answers", || say("first") == 200);
    assert_eq!(say("fail"), 503);
    assert_eq!(post(http, "key-1", "a", "fail").status, 503);
    assert_eq!(say("last"), 200);
    let line = || -> Value {
        let line = process.line(SOON).expect("a line");
        serde_json::from_str(&line).unwrap()
    };
    let mut lines = vec![line()];
    while lines.last().unwrap()["text"] != "last" {
        lines.push(line());
    }
    lines.retain(|line| line["text"] != "first");
    let sent = |text: &str, keys: Value| json!({"text": text, "keys": keys});
    let key = json!({"idempotency-key": "key-1"});
    assert_eq!(
        lines,
        [
            sent("fail", json!({})),
            sent("fail", key),
            sent("last", json!({}))
        ]
    );
}
