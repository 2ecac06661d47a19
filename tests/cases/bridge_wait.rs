//! Flushes that wait for messages: `Prefer: wait=N; min=K`.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::http::{Answer, flush, messages, post, request, send};
use crate::support::metrics::wait_for;
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Program, Server};
use crate::support::tokens::{Tokens, bearer};
use crate::support::{SOON, eventually};

const FLUSH: &str = "/getAndFlushMessages";
const METRICS: [&str; 2] = ["--metrics-port", "0"];
/// Longer than any wait here takes.
const LONG: &str = "wait=25";

fn ask(port: u16, prefer: &str) -> Answer {
    request("POST", port, FLUSH, &[("Prefer", prefer)], "")
}

/// The texts of an answer.
fn texts(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    messages(&answer.json())
        .into_iter()
        .map(|it| it.text)
        .collect()
}

/// A flush on a thread of its own.
fn asking(bridge: &Program, prefer: &str) -> JoinHandle<Answer> {
    let (port, prefer) = (bridge.port(), prefer.to_owned());
    thread::spawn(move || ask(port, &prefer))
}

/// Returns when so many are in line.
fn wait_for_waiters(bridge: &Program, count: usize) {
    let port = bridge.metrics_port();
    wait_for(port, "messenger_bridge_waiting", &[], count as f64);
}

fn metered(server: &Program, more: &[&str]) -> Program {
    Bridge::start(&server.address(), &[&METRICS, more].concat())
}

/// Returns when a message that was sent elsewhere is here.
fn wait_for_postbox(bridge: &Program, count: usize) {
    let port = bridge.metrics_port();
    wait_for(port, "messenger_postbox_messages", &[], count as f64);
}

#[test]
fn a_flush_waits_for_its_messages_and_no_longer() {
    let server = Server::start(&[]);
    let sender = Bridge::start(&server.address(), &[]);
    let bridge = metered(&server, &[]);
    let since = Instant::now();
    let waiter = asking(&bridge, LONG);
    wait_for_waiters(&bridge, 1);
    send(sender.port(), "anna", "a");
    let answer = waiter.join().unwrap();
    assert_eq!(texts(&answer), ["a"]);
    assert_eq!(answer.header("Preference-Applied"), None);
    let waiter = asking(&bridge, &format!("{LONG}; min=3"));
    wait_for_waiters(&bridge, 1);
    for text in ["b", "c"] {
        send(sender.port(), "anna", text);
    }
    wait_for_postbox(&bridge, 2);
    wait_for_waiters(&bridge, 1);
    send(sender.port(), "anna", "d");
    assert_eq!(texts(&waiter.join().unwrap()), ["b", "c", "d"]);
    // What is there is not waited for.
    send(bridge.port(), "anna", "e");
    assert_eq!(texts(&ask(bridge.port(), LONG)), ["e"]);
    assert!(since.elapsed() < Duration::from_secs(25));
    wait_for_waiters(&bridge, 0);
}

#[test]
fn when_its_time_is_over_a_flush_has_what_there_is() {
    let server = Server::start(&[]);
    let bridge = metered(&server, &[]);
    let since = Instant::now();
    let patient = asking(&bridge, &format!("{LONG}; min=3"));
    wait_for_waiters(&bridge, 1);
    assert_eq!(texts(&ask(bridge.port(), "wait=1")), [""; 0]);
    assert!(since.elapsed() >= Duration::from_secs(1));
    // It stands behind the other one, but not for longer than its time.
    send(bridge.port(), "anna", "a");
    assert_eq!(texts(&ask(bridge.port(), "wait=1")), ["a"]);
    assert!(since.elapsed() >= Duration::from_secs(2));
    for text in ["b", "c", "d"] {
        send(bridge.port(), "anna", text);
    }
    assert_eq!(texts(&patient.join().unwrap()), ["b", "c", "d"]);
}

#[test]
fn those_who_wait_are_answered_in_order_of_arrival_one_message_each() {
    let server = Server::start(&[]);
    let bridge = metered(&server, &[]);
    let mut waiters = Vec::new();
    for number in 1..=5 {
        waiters.push(asking(&bridge, LONG));
        wait_for_waiters(&bridge, number);
    }
    for (number, waiter) in waiters.into_iter().enumerate() {
        send(bridge.port(), "anna", &number.to_string());
        assert_eq!(texts(&waiter.join().unwrap()), [number.to_string()]);
        wait_for_waiters(&bridge, 4 - number);
    }
}

#[test]
fn whoever_finds_the_postbox_emptied_by_another_goes_on_waiting() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let port = bridge.port();
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for round in 0..60 {
        let waiters = [(), ()].map(|()| asking(&bridge, LONG));
        let rivals = [(), ()].map(|()| thread::spawn(move || texts(&ask(port, "wait=x"))));
        for number in 0..2 {
            sent.push(format!("{round}.{number}"));
            send(port, "anna", &sent[sent.len() - 1]);
        }
        got.extend(rivals.into_iter().flat_map(|it| it.join().unwrap()));
        // Whoever has got nothing gets this.
        for (number, waiter) in waiters.into_iter().enumerate() {
            let mut more = 2;
            eventually(SOON, "an answer", || {
                let over = waiter.is_finished();
                if !over {
                    sent.push(format!("{round}.{number}.{more}"));
                    send(port, "anna", &sent[sent.len() - 1]);
                    more += 1;
                }
                over
            });
            let texts = texts(&waiter.join().unwrap());
            assert!(!texts.is_empty(), "it has not waited");
            got.extend(texts);
        }
    }
    got.extend(texts(&post(port, FLUSH, "")));
    got.sort();
    sent.sort();
    assert_eq!(got, sent);
}

#[test]
fn a_waiter_that_leaves_loses_nothing_and_stands_in_nobodys_way() {
    let server = Server::start(&[]);
    let bridge = metered(&server, &[]);
    for known in [true, false] {
        let leaver = TcpStream::connect(("127.0.0.1", bridge.port())).unwrap();
        let head = format!("POST {FLUSH} HTTP/1.1\r\nHost: localhost\r\nPrefer: {LONG}\r\n\r\n");
        (&leaver).write_all(head.as_bytes()).unwrap();
        wait_for_waiters(&bridge, 1);
        let waiter = asking(&bridge, LONG);
        wait_for_waiters(&bridge, 2);
        drop(leaver);
        if known {
            wait_for_waiters(&bridge, 1);
        }
        send(bridge.port(), "anna", "a");
        assert_eq!(texts(&waiter.join().unwrap()), ["a"]);
    }
    assert_eq!(flush(bridge.port()), []);
}

#[test]
fn a_wait_has_a_most_that_is_told_and_bad_preferences_are_ignored() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    for (prefer, applied) in [("wait=61", Some("wait=60")), ("wait=60", None)] {
        send(bridge.port(), "anna", "a");
        let answer = ask(bridge.port(), prefer);
        assert_eq!(texts(&answer), ["a"]);
        assert_eq!(answer.header("Preference-Applied"), applied);
    }
    let since = Instant::now();
    for prefer in [
        "min=3",
        "wait=-1",
        "wait=soon",
        "wait=0",
        "wait=1.5; min=2",
        "",
    ] {
        let answer = ask(bridge.port(), prefer);
        assert_eq!((answer.status, &*answer.body), (200, "[]"), "{prefer}");
        assert_eq!(answer.header("Preference-Applied"), None);
    }
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "one of them has waited"
    );
}

#[test]
fn fifty_flushes_that_wait_do_not_slow_a_send() {
    let server = Server::start(&[]);
    let bridge = metered(&server, &["--drain", "0s"]);
    let median = || {
        let mut times: Vec<_> = (0..101)
            .map(|_| {
                let since = Instant::now();
                send(bridge.port(), "anna", "a");
                since.elapsed()
            })
            .collect();
        times.sort();
        times[50]
    };
    let alone = median();
    flush(bridge.port());
    let waiters: Vec<_> = (0..50)
        .map(|_| asking(&bridge, "wait=25; min=101"))
        .collect();
    wait_for_waiters(&bridge, 50);
    let beside = median();
    println!("median of a send: {alone:?} alone, {beside:?} beside 50 that wait");
    assert!(
        beside < 3 * alone + Duration::from_millis(5),
        "{beside:?}, alone {alone:?}"
    );
    // The first has all of them; the others find the bridge at its end, soon.
    bridge.signal(Signal::TERM);
    let counts: Vec<_> = waiters
        .into_iter()
        .map(|it| texts(&it.join().unwrap()).len())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 101, "{counts:?}");
    assert!(
        counts.iter().all(|count| [0, 101].contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_bridge_that_is_stopped_answers_those_who_wait_with_what_there_is() {
    let server = Server::start(&[]);
    let mut bridge = metered(&server, &["--drain", "0s"]);
    let waiter = asking(&bridge, &format!("{LONG}; min=2"));
    wait_for_waiters(&bridge, 1);
    send(bridge.port(), "anna", "a");
    wait_for_postbox(&bridge, 1);
    bridge.signal(Signal::TERM);
    assert_eq!(texts(&waiter.join().unwrap()), ["a"]);
    assert_eq!(bridge.wait_exit(SOON), 0, "{}", bridge.log());
}

#[test]
fn a_flush_waits_on_while_the_server_is_away() {
    let server = Server::start(&[]);
    let port = server.port();
    let bridge = metered(&server, &[]);
    let waiter = asking(&bridge, LONG);
    wait_for_waiters(&bridge, 1);
    drop(server);
    let alone = ask(bridge.port(), "wait=1");
    assert_eq!(
        (&*alone.body, alone.header("X-Messenger-Subscribed")),
        ("[]", Some("false"))
    );
    let server = Server::start_on(port, &[]);
    let sender = Bridge::start(&server.address(), &[]);
    // The bridge is back by then, or the message is missed.
    eventually(SOON, "the message", || {
        send(sender.port(), "anna", "a");
        waiter.is_finished()
    });
    let answer = waiter.join().unwrap();
    assert!(texts(&answer).iter().all(|text| text == "a"));
    assert_eq!(answer.header("X-Messenger-Gap"), Some("true"));
}

#[test]
fn a_postbox_that_is_full_ends_the_wait() {
    let server = Server::start(&[]);
    let bridge = metered(&server, &["--postbox-messages", "2"]);
    let waiter = asking(&bridge, "wait=25; min=3");
    wait_for_waiters(&bridge, 1);
    for text in ["a", "b"] {
        send(bridge.port(), "anna", text);
    }
    let answer = waiter.join().unwrap();
    assert_eq!(texts(&answer), ["a", "b"]);
    assert_eq!(answer.header("X-Messenger-Dropped"), None);
    // One that has dropped already has nothing to wait for.
    for text in ["c", "d", "e"] {
        send(bridge.port(), "anna", text);
    }
    wait_for(
        bridge.metrics_port(),
        "messenger_dropped_total",
        &["messages"],
        1.0,
    );
    let answer = ask(bridge.port(), "wait=25; min=3");
    assert_eq!(texts(&answer), ["d", "e"]);
    assert_eq!(answer.header("X-Messenger-Dropped"), Some("1"));
}

#[test]
fn a_token_that_is_taken_away_ends_the_wait() {
    let tokens = Tokens::new();
    let (read, write) = (
        tokens.add("r", &["chat:read"]),
        tokens.add("w", &["chat:write"]),
    );
    let server = Server::start(&[]);
    let bridge = metered(&server, &tokens.flags());
    let asked = |token: &str| {
        let (port, token) = (bridge.port(), bearer(token));
        thread::spawn(move || {
            let headers = [("Prefer", LONG), ("Authorization", &*token)];
            request("POST", port, FLUSH, &headers, "")
        })
    };
    assert_eq!(asked(&write).join().unwrap().status, 403);
    let waiter = asked(&read);
    wait_for_waiters(&bridge, 1);
    tokens.remove("r");
    let answer = waiter.join().unwrap();
    assert_eq!(answer.status, 401, "{}", answer.body);
}

#[test]
fn without_the_header_nothing_is_different() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let mut raw = TcpStream::connect(("127.0.0.1", bridge.port())).unwrap();
    let request = format!("POST {FLUSH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    raw.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines = head.lines().filter(|line| !line.starts_with("Date: "));
    let expected = [
        "HTTP/1.1 200 OK",
        "Content-Type: application/json; charset=utf-8",
        "Content-Length: 2",
        "Connection: close",
    ];
    assert_eq!((lines.collect::<Vec<_>>(), body), (expected.to_vec(), "[]"));
}
