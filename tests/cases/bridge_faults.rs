//! The bridge when something is missing or broken: the server, the client, the
//! room in its postbox.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::{self, Seen, flush, messages, post, seen};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Server, accepts, free_port};
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy};

const FLUSH: &str = "/getAndFlushMessages";
const SUBSCRIBED: &str = "X-Messenger-Subscribed";
const DROPPED: &str = "X-Messenger-Dropped";
const GAP: &str = "X-Messenger-Gap";

#[test]
fn without_a_server_the_port_opens_after_the_wait_and_says_so() {
    let server_port = free_port();
    let address = format!("127.0.0.1:{server_port}");
    let port = free_port();
    let started = Instant::now();
    let bridge = Bridge::spawn(&address, port, &["--connect-wait", "600ms"]);
    eventually(SOON, "the port opens", || accepts(port));
    assert!(
        started.elapsed() >= Duration::from_millis(600),
        "not before the wait is over"
    );
    assert!(
        bridge.log().contains("no subscription yet"),
        "{}",
        bridge.log()
    );
    let sent = post(port, "/sendMessage", r#"{"author":"a","text":"b"}"#);
    assert_eq!(sent.status, 503);
    assert_eq!(sent.json()["error"]["code"], "UNAVAILABLE", "{}", sent.body);
    let flushed = post(port, FLUSH, "");
    assert_eq!((flushed.status, &*flushed.body), (200, "[]"));
    assert_eq!(flushed.header(SUBSCRIBED), Some("false"));
    // The server comes: the header goes, and messages arrive.
    let server = Server::start_on(server_port, &[]);
    // What was sent before that was missed.
    let mut missed = Vec::new();
    eventually(SOON, "the header goes away", || {
        let flushed = post(port, FLUSH, "");
        missed.extend(flushed.header(GAP).map(str::to_owned));
        flushed.header(SUBSCRIBED).is_none()
    });
    assert_eq!(missed, ["true"]);
    let time = send(&client(&server.address()), "a", "b");
    eventually(SOON, "the message", || {
        flush(port) == [seen("a", "b", time)]
    });
}

#[test]
fn a_bridge_comes_back_within_two_seconds_after_a_restart_under_load() {
    let _machine = heavy();
    let port = free_port();
    let mut server = Server::start_on(port, &[]);
    let address = server.address();
    let bridge = Bridge::start(&address, &[]);
    for (round, signal) in [Signal::TERM, Signal::KILL, Signal::TERM]
        .into_iter()
        .enumerate()
    {
        let (over_sender, over) = crossbeam_channel::bounded::<()>(0);
        let http = bridge.port();
        let load = thread::spawn(move || {
            let mut answers = Vec::new();
            while over.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                answers.push(post(http, "/sendMessage", r#"{"author":"load"}"#).status);
            }
            answers
        });
        eventually(SOON, "load", || !flush(http).is_empty());
        server.signal(signal);
        server.wait_exit(Duration::from_secs(5));
        drop(server);
        server = Server::start_on(port, &[]);
        let listens = Instant::now();
        let text = format!("round {round}");
        let mut number = 0;
        let sender = client(&address);
        // A message that is sent at this moment or up to two seconds later
        // arrives: send some until one does.
        eventually(
            Duration::from_secs(2),
            "a message from the new server",
            || {
                number += 1;
                send(&sender, "new", &text);
                flush(http).iter().any(|message| message.text == text)
            },
        );
        println!("back after {:?} and {number} messages", listens.elapsed());
        drop(over_sender);
        let answers = load.join().unwrap();
        let ok = answers.iter().filter(|status| **status == 200).count();
        assert!(
            ok > 0
                && answers
                    .iter()
                    .all(|status| [200, 503, 504].contains(status)),
            "{answers:?}"
        );
    }
    let log = bridge.log();
    let windows = log
        .lines()
        .filter(|line| line.contains("may have been missed"));
    let windows: Vec<_> = windows.collect();
    assert_eq!(windows.len(), 3, "each window is in the log");
    assert!(
        windows
            .iter()
            .all(|line| line.contains("from=") && line.contains("until=")),
        "{log}"
    );
}

#[test]
fn messages_before_a_clean_end_of_the_server_are_still_flushed() {
    for _ in 0..10 {
        let mut server = Server::start(&[]);
        let bridge = Bridge::start(&server.address(), &[]);
        let sender = client(&server.address());
        let sent: Vec<_> = (0..3)
            .map(|_| seen("a", "b", send(&sender, "a", "b")))
            .collect();
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
        bridge.wait_for_log(SOON, "the subscription is lost");
        assert_eq!(flush(bridge.port()), sent);
    }
}

#[test]
fn the_oldest_make_room_in_a_full_postbox_and_the_next_flush_tells_how_many() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--postbox-messages", "5"]);
    let witness = Bridge::start(&server.address(), &[]);
    let sender = client(&server.address());
    let sent: Vec<_> = (0..12)
        .map(|n| seen("a", &n.to_string(), send(&sender, "a", &n.to_string())))
        .collect();
    bridge.wait_for_log(SOON, "the oldest messages were dropped");
    let mut seen_by_witness = Vec::new();
    eventually(SOON, "all messages", || {
        seen_by_witness.extend(flush(witness.port()));
        seen_by_witness.len() == 12
    });
    // The bounded one has no event that says "that was the last". What this flush
    // waits for does: it is sent through it.
    let last = http::send(bridge.port(), "a", "last");
    let answer = post(bridge.port(), FLUSH, "");
    assert_eq!(answer.header(DROPPED), Some("8"));
    let expected = [&sent[8..], &[seen("a", "last", last)]].concat();
    assert_eq!(messages(&answer.json()), expected);
    let lines = bridge.log().matches("postbox is full").count();
    assert_eq!(lines, 1, "the first, and then a count at intervals");
    let answer = post(bridge.port(), FLUSH, "");
    assert_eq!((answer.header(DROPPED), &*answer.body), (None, "[]"));
}

#[test]
fn the_postbox_is_bounded_in_bytes_too() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--postbox-bytes", "1000"]);
    let sender = client(&server.address());
    let text = "x".repeat(400);
    for author in ["1", "2", "3"] {
        send(&sender, author, &text);
    }
    bridge.wait_for_log(SOON, "the oldest messages were dropped");
    let answer = post(bridge.port(), FLUSH, "");
    assert_eq!(answer.header(DROPPED), Some("1"));
    let authors: Vec<_> = messages(&answer.json());
    assert_eq!(
        authors.iter().map(|m| &*m.author).collect::<Vec<_>>(),
        ["2", "3"]
    );
}

/// Asks for a flush and resets the connection as soon as a large answer is under
/// way. A smaller one might fit into the socket buffers, and count as taken: it
/// is read and returned.
pub fn torn_flush(port: u16) -> Option<Vec<Seen>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("POST {FLUSH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    (&stream).write_all(request.as_bytes()).unwrap();
    // A small buffer, so that little of the answer is read along with its head.
    let mut answer = BufReader::with_capacity(256, &stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    if length > 8 << 20 {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        return None;
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).unwrap();
    Some(messages(&serde_json::from_slice(&body).unwrap()))
}

#[test]
fn a_flush_that_nobody_takes_puts_the_messages_back_in_order() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--postbox-bytes", "1000000000"]);
    let sender = client(&server.address());
    let text = "x".repeat(256 * 1024);
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        loop {
            for _ in 0..40 {
                let author = sent.len().to_string();
                sent.push(seen(&author, &text, send(&sender, &author, &text)));
            }
            match torn_flush(bridge.port()) {
                None => break,
                Some(messages) => got.extend(messages),
            }
        }
        eventually(SOON, "the messages are back", || {
            bridge.log().matches("its messages are back").count() == round
        });
    }
    eventually(SOON, "everything", || {
        got.extend(flush(bridge.port()));
        got.len() >= sent.len()
    });
    assert!(got == sent, "each message once, in order");
    assert_eq!(flush(bridge.port()), []);
}

#[test]
fn a_send_to_a_server_that_never_answers_ends_at_its_deadline() {
    // Accepts, by its backlog, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let flags = ["--connect-wait", "100ms", "--send-timeout", "700ms"];
    let mut bridge = Bridge::start(&address, &flags);
    for _ in 0..3 {
        let started = Instant::now();
        let answer = post(
            bridge.port(),
            "/sendMessage",
            r#"{"author":"a","text":"b"}"#,
        );
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
        assert!(
            [503, 504].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.body
        );
    }
    bridge.signal(Signal::TERM);
    assert_eq!(bridge.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn a_stopped_server_costs_a_send_its_deadline_and_the_message_is_not_sent_twice() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--send-timeout", "500ms"]);
    server.stop();
    let answer = post(
        bridge.port(),
        "/sendMessage",
        r#"{"author":"a","text":"maybe"}"#,
    );
    assert_eq!(answer.status, 504, "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "DEADLINE_EXCEEDED");
    server.signal(Signal::CONT);
    let time = send(&client(&server.address()), "b", "after");
    let mut got = Vec::new();
    eventually(SOON, "the message after it", || {
        got.extend(flush(bridge.port()));
        got.iter().any(|message| message.nanos == time)
    });
    let maybe = got.iter().filter(|message| message.text == "maybe").count();
    assert!(maybe <= 1, "it may have been accepted, but once");
}

#[test]
fn a_log_that_nobody_reads_makes_the_bridge_neither_deaf_nor_immortal() {
    let server = Server::start(&[]);
    let flags = ["--postbox-messages", "1", "--log-level", "debug"];
    let mut bridge = Bridge::start_unread(&server.address(), &flags);
    let sender = client(&server.address());
    // At the old program's line each, more than a pipe takes.
    let mut times: Vec<_> = (0..2_000).map(|_| send(&sender, "a", "b")).collect();
    let last = seen("a", "b", times.pop().unwrap());
    eventually(SOON, "the last message", || {
        let answer = post(bridge.port(), FLUSH, "");
        assert_eq!(answer.header(SUBSCRIBED), None);
        messages(&answer.json()) == [last.clone()]
    });
    bridge.signal(Signal::TERM);
    assert_eq!(bridge.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn flushes_that_are_lost_one_after_the_other_are_logged_as_a_count() {
    const LOST: usize = 100;
    const BACK: &str = "its messages are back";
    let _machine = heavy();
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    // More than the kernel takes for a client that does not read.
    let text = "\u{1}".repeat(250 * 1024);
    let sender = client(&server.address());
    let large = (0..8).map(|_| seen("a", &text, send(&sender, "a", &text)));
    let mut sent: Vec<_> = large.collect();
    // By the bridge itself: its flush waits for this one, and so for all.
    sent.push(seen("a", "last", http::send(bridge.port(), "a", "last")));
    eventually(SOON, "a large flush", || {
        torn_flush(bridge.port()).is_none()
    });
    let started = Instant::now();
    for _ in 1..LOST {
        // It is lost only when the next one has what was put back.
        eventually(SOON, "the messages are back", || {
            torn_flush(bridge.port()).is_none()
        });
    }
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let lines = bridge.log().matches(BACK).count();
    assert!(lines > 0 && lines <= 5 * (seconds + 3), "{lines} lines");
    let mut got = Vec::new();
    eventually(SOON, "nothing is lost", || {
        got.extend(flush(bridge.port()));
        got.len() >= sent.len()
    });
    assert!(got == sent, "each message once, in order");
}

#[test]
fn a_send_that_waits_for_a_hung_server_is_answered_at_the_end_of_the_bridge() {
    let server = Server::start(&[]);
    let mut bridge = Bridge::start(&server.address(), &["--send-timeout", "60s"]);
    server.stop();
    let port = bridge.port();
    let sends: Vec<_> = (0..3)
        .map(|_| thread::spawn(move || post(port, "/sendMessage", r#"{"author":"a"}"#)))
        .collect();
    bridge.wait_for_threads("http-conn-", 3);
    bridge.signal(Signal::TERM);
    assert_eq!(bridge.wait_exit(Duration::from_secs(5)), 0);
    for send in sends {
        let answer = send.join().unwrap();
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "UNAVAILABLE");
    }
}
