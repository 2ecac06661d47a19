//! One bound in bytes over all clients: what they send, do not read, or leave
//! behind takes no more memory than `--memory-limit`, and nothing is lost by it.

use std::net::SocketAddr;

use crate::support::history::Store;
use crate::support::http::{self, flush};
use crate::support::programs::{Bridge, Program, Server, messenger};
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy};

use super::{Peer, ask};

const LIMIT: usize = 128 << 20;
/// As the environment tells it.
const LIMIT_TEXT: &str = "134217728";
/// What a program with this limit may take, all in all.
const MOST: usize = LIMIT + LIMIT / 4 + (64 << 20);

/// Each character takes six in JSON.
fn text() -> String {
    "\u{1}".repeat(250 * 1024)
}

fn address(program: &Program) -> SocketAddr {
    program.address().parse().unwrap()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// A log with more than a page of large messages.
fn log(store: &Store) -> Program {
    let log = store.replica(&[], &[("MESSENGER_MEMORY_LIMIT", LIMIT_TEXT)]);
    let body = serde_json::json!({"sender": "a", "text": text()[..80_000]}).to_string();
    for _ in 0..60 {
        assert_eq!(http::post(log.port(), "/", &body).status, 200);
    }
    log
}

/// Clients that ask and read no further than the status, of which some are told
/// that there is no room.
fn unread(address: SocketAddr, request: &[u8], count: usize) -> Vec<Peer> {
    let mut peers: Vec<_> = (0..count).map(|_| Peer::connect(address)).collect();
    for peer in &peers {
        peer.send(request);
    }
    let mut refused = 0;
    for peer in &mut peers {
        let head = peer.answer_head();
        assert!([200, 503].contains(&head.status), "{}", head.head);
        if head.status == 503 {
            assert_eq!(head.header("Retry-After"), Some("1"), "{}", head.head);
            refused += 1;
        }
    }
    println!("{refused} of {count} were refused");
    peers
}

fn check(program: &Program) {
    let peak = program.peak_bytes();
    println!("{} MiB at most", peak >> 20);
    assert!(peak < MOST, "{} MiB", peak >> 20);
}

#[test]
fn pages_and_events_that_nobody_reads_are_bounded_over_all_clients() {
    let _machine = heavy();
    let store = Store::sqlite();
    let log = log(&store);
    let page = get("/messages?limit=1000");
    let peers = unread(address(&log), &page, 100);
    check(&log);
    drop(peers);
    let streams = unread(address(&log), &get("/events?after=0"), 60);
    check(&log);
    drop(streams);
    // Nothing is held for those that have left, and a page is whole.
    eventually(SOON, "a page", || ask(address(&log), &page).status == 200);
    let whole = ask(address(&log), &page);
    let messages: serde_json::Value = serde_json::from_slice(&whole.body).unwrap();
    let messages = messages.as_array().unwrap();
    assert_eq!(messages.last().unwrap()["number"], 60);
    assert!(
        messages
            .iter()
            .all(|message| message["text"] == text()[..80_000])
    );
    check(&log);
}

#[test]
fn flushes_that_nobody_reads_are_bounded_and_lose_nothing() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let flags = ["--memory-limit", LIMIT_TEXT, "--postbox-bytes", "50000000"];
    let bridge = Bridge::start(&server.address(), &flags);
    let (sender, text) = (client(&server.address()), text());
    let flush_request = b"POST /getAndFlushMessages HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut sent = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..4 {
        for _ in 0..40 {
            let author = sent.len().to_string();
            sent.push((author.clone(), send(&sender, &author, &text)));
        }
        peers.extend(unread(address(&bridge), flush_request, 1));
    }
    check(&bridge);
    drop(peers);
    let mut got = Vec::new();
    eventually(SOON, "all messages, each once", || {
        let answer = http::post(bridge.port(), "/getAndFlushMessages", "");
        if answer.status == 200 {
            got.extend(http::messages(&answer.json()));
        }
        got.len() >= sent.len()
    });
    // Who flushes before a loss is noticed gets the lost ones behind.
    got.sort_by_key(|seen| seen.nanos);
    let got: Vec<_> = got.into_iter().map(|m| (m.author, m.nanos)).collect();
    assert!(got == sent, "each message once");
    assert_eq!(flush(bridge.port()), []);
    check(&bridge);
}

#[test]
fn a_thousand_clients_that_send_do_not_read_or_leave_are_bounded() {
    const CLIENTS: usize = 1000;
    let _machine = heavy();
    let store = Store::sqlite();
    let log = log(&store);
    let mut body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n".to_vec();
    body.resize(400_000, b'a');
    let page = get("/messages?limit=1000");
    let mut peers = Vec::new();
    for number in 0..CLIENTS {
        let peer = Peer::connect(address(&log));
        // One that is refused need not take all of it.
        let send = |bytes: &[u8]| drop(std::io::Write::write_all(&mut peer.stream(), bytes));
        match number % 4 {
            0 | 1 => send(&body),
            2 => send(&page),
            _ => {
                send(if number % 8 == 3 { &page } else { &body });
                continue;
            }
        }
        peers.push(peer);
    }
    check(&log);
    // Small requests have room all the same.
    let answered = http::post(log.port(), "/", r#"{"sender":"a","text":"b"}"#);
    assert!([200, 503].contains(&answered.status), "{}", answered.body);
    assert_eq!(http::request("GET", log.port(), "/", &[], "").status, 200);
    drop(peers);
    let small = ask(address(&log), &get("/"));
    assert_eq!(small.status, 200);
    check(&log);
}

#[test]
fn a_limit_that_a_full_postbox_would_not_fit_into_is_refused_at_the_start() {
    let arguments = ["client", "--http-port", "0", "--memory-limit", "67108864"];
    let mut process = messenger(&arguments);
    assert_eq!(process.wait_exit(SOON), 1);
    let log = process.log();
    assert!(log.contains("--memory-limit: 67108864 bytes"), "{log}");
    assert!(log.contains("--postbox-bytes"), "{log}");
}
