//! Every bound of the front: what is just within passes, what is over is told
//! so, and it costs the front no more than the bound.

use std::io::Write as _;
use std::time::{Duration, Instant};

use messenger::http::{Front, Limits, Response};

use crate::support::{SOON, eventually, heavy};

use super::{GATED, GET, Peer, ask, echo, gate, gated, limits, millis, post, start};

const HEADER_BYTES: usize = 16 * 1024;
const BODY_BYTES: usize = 512 * 1024;

/// A request whose head has exactly so many bytes.
fn head_of(bytes: usize) -> Vec<u8> {
    let start = "GET /x HTTP/1.1\r\nHost: localhost\r\nX: ";
    let filler = "a".repeat(bytes - start.len() - 4);
    format!("{start}{filler}\r\n\r\n").into_bytes()
}

#[test]
fn a_header_of_16_kib_passes_and_one_byte_more_is_431() {
    let front = start(Limits::default(), echo);
    let at = |bytes| ask(front.local_addr(), &head_of(bytes)).status;
    assert_eq!(at(HEADER_BYTES), 200);
    assert_eq!(at(HEADER_BYTES + 1), 431);
    let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEADER_BYTES));
    assert_eq!(ask(front.local_addr(), line.as_bytes()).status, 414);
}

#[test]
fn sixty_four_header_fields_pass_and_one_more_is_431() {
    let front = start(Limits::default(), echo);
    let with = |fields| ask(front.local_addr(), &post(&"A: b\r\n".repeat(fields), ""));
    let reply = with(63);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("X-Fields").unwrap().split(',').count(), 64);
    let reply = with(64);
    assert_eq!(reply.status, 431);
    assert!(
        reply.text().contains("64 header fields"),
        "{}",
        reply.text()
    );
}

fn by_length(size: usize) -> Vec<u8> {
    post(&format!("Content-Length: {size}\r\n"), &"a".repeat(size))
}

fn in_chunks(size: usize) -> Vec<u8> {
    let mut bytes = post("Transfer-Encoding: chunked\r\n", "");
    for chunk in vec![b'a'; size].chunks(1000) {
        write!(bytes, "{:x};e=1\r\n", chunk.len()).unwrap();
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\nT: 1\r\n\r\n");
    bytes
}

#[test]
fn a_body_of_512_kib_passes_and_one_byte_more_is_413() {
    let front = start(Limits::default(), echo);
    for size in [1, 1024, 1025, 100_000, BODY_BYTES] {
        for bytes in [by_length(size), in_chunks(size)] {
            let reply = ask(front.local_addr(), &bytes);
            let got = (reply.status, reply.body.len());
            assert_eq!(got, (200, "POST /x? ".len() + size));
        }
    }
    for bytes in [by_length(BODY_BYTES + 1), in_chunks(BODY_BYTES + 1)] {
        let reply = ask(front.local_addr(), &bytes);
        assert_eq!(reply.status, 413);
        assert!(reply.text().contains("524288"), "{}", reply.text());
    }
}

#[test]
fn an_answer_of_30_mb_arrives_whole() {
    let front = start(Limits::default(), |_| {
        Response::text(200, "0123456789".repeat(3_000_000))
    });
    let reply = ask(front.local_addr(), GET);
    assert_eq!((reply.status, reply.body.len()), (200, 30_000_000));
    assert!(reply.body.chunks(10).all(|part| part == b"0123456789"));
}

#[test]
fn a_refusal_can_be_read_by_a_client_that_is_still_sending() {
    let front = start(limits(|l| l.drain_time = 4 * SOON), echo);
    for _ in 0..20 {
        let mut peer = Peer::connect(front.local_addr());
        // The refusal is due at the end of the head. Then 1.5 MB follow, below
        // the 2 MiB that are drained, so that nothing resets the connection.
        peer.send(&post("Content-Length: 1500000\r\n", ""));
        for _ in 0..15 {
            peer.send(&[b'a'; 100_000]);
        }
        assert_eq!(peer.answer().status, 413);
        peer.wait_closed();
    }
}

#[test]
fn a_refused_client_is_listened_to_for_two_mebibytes_at_most() {
    let front = start(limits(|l| l.drain_time = 4 * SOON), echo);
    let peer = Peer::connect(front.local_addr());
    peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    let piece = vec![b'a'; 1 << 20];
    let taken = (0..64).take_while(|_| peer.stream().write_all(&piece).is_ok());
    // 2 MiB are drained, and the kernel buffers up to 10 between the two.
    let taken = taken.count();
    assert!(taken < 20, "{taken} of 64 MiB were taken");
    assert_eq!(ask(front.local_addr(), GET).status, 200);
}

#[test]
fn a_refused_client_is_listened_to_for_the_drain_time_at_most() {
    let front = start(limits(|l| l.drain_time = millis(200)), echo);
    let mut peer = Peer::connect(front.local_addr());
    let begun = Instant::now();
    peer.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(peer.answer().status, 400);
    peer.wait_closed();
    // The answer and the half-close are there. Its own side goes with a byte that
    // finds nobody.
    eventually(SOON, "the connection is gone", || {
        peer.stream().write_all(b"x").is_err()
    });
    assert!(begun.elapsed() >= millis(200), "{:?}", begun.elapsed());
}

#[test]
fn a_request_that_is_not_complete_in_time_is_408_however_it_trickles() {
    let trickle = limits(|l| {
        l.request_time = millis(400);
        l.drain_time = 4 * SOON;
    });
    let front = start(trickle, echo);
    let stalls: [&[u8]; 4] = [
        b"G",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ];
    let begun = Instant::now();
    let mut stalled = stalls.map(|bytes| {
        let peer = Peer::connect(front.local_addr());
        peer.send(bytes);
        peer
    });
    // One byte at a time, for ever: the time counts from the first one.
    let mut trickling = Peer::connect(front.local_addr());
    trickling.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\nX: ");
    trickling.stream().set_nonblocking(true).unwrap();
    eventually(SOON, "an answer to the trickle", || {
        trickling.send(b"a");
        trickling.stream().peek(&mut [0]).is_ok()
    });
    trickling.stream().set_nonblocking(false).unwrap();
    for peer in stalled.iter_mut().chain([&mut trickling]) {
        let reply = peer.answer();
        assert_eq!(reply.status, 408);
        assert!(reply.text().contains("0.4 s"), "{}", reply.text());
        peer.half_close();
        peer.wait_closed();
    }
    assert!(begun.elapsed() >= millis(400), "{:?}", begun.elapsed());
}

#[test]
fn a_silent_connection_is_closed_without_a_word_after_the_idle_time() {
    const IDLE: Duration = Duration::from_millis(400);
    let front = start(
        limits(|l| {
            l.idle_time = IDLE;
            l.request_time = 100 * SOON;
        }),
        echo,
    );
    let begun = Instant::now();
    let mut fresh = Peer::connect(front.local_addr());
    let mut used = Peer::connect(front.local_addr());
    used.send(GET);
    assert_eq!(used.answer().status, 200);
    for peer in [&mut fresh, &mut used] {
        peer.wait_closed();
        assert!(begun.elapsed() >= IDLE, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_connection_over_the_limit_is_503_while_all_the_others_are_served() {
    // A refused client has a second to read why.
    let _machine = heavy();
    let (gate, stop) = gate();
    let front = Front::bind("127.0.0.1:0").expect("a free port");
    let lanes = vec![gated(stop); 5];
    let front = front.serve(limits(|l| l.connections = 5), lanes, "http-loop");
    let front = front.expect("lanes");
    let mut open: Vec<_> = (0..5).map(|_| Peer::connect(front.local_addr())).collect();
    for peer in &open {
        peer.send(GATED);
    }
    // One whose request is not read yet would make room.
    for _ in &open {
        gate.wait_entered();
    }
    // More than the front keeps waiting at a time.
    for _ in 0..80 {
        let mut peer = Peer::connect(front.local_addr());
        let reply = peer.answer();
        // Somebody is still there: no reset comes between the client and its answer.
        peer.send(GET);
        peer.send(GET);
        assert_eq!(reply.status, 503, "{}", reply.head);
        assert_eq!(reply.header("Retry-After"), Some("1"));
        assert!(reply.closes() && reply.text().contains("limit of 5 connections"));
    }
    drop(gate.open);
    for peer in &mut open {
        assert_eq!(peer.answer().status, 200);
    }
    open.pop();
    eventually(SOON, "a place is free again", || {
        ask(front.local_addr(), GET).status == 200
    });
}

#[test]
fn at_the_limit_the_longest_idle_connection_makes_room() {
    let forever = limits(|l| {
        l.connections = 3;
        l.idle_time = 100 * SOON;
        l.request_time = 100 * SOON;
    });
    let front = start(forever, echo);
    let connect = || Peer::connect(front.local_addr());
    let served = |peer: &mut Peer| {
        peer.send(GET);
        assert_eq!(peer.answer().status, 200);
    };
    let mut used = connect();
    served(&mut used);
    let mut silent = connect();
    // They are accepted in turn: once the third is served, all are in.
    let mut third = connect();
    served(&mut third);
    served(&mut used);
    let mut fourth = connect();
    served(&mut fourth);
    silent.wait_closed();
    served(&mut used);
}

#[test]
fn at_the_limit_a_request_that_comes_slowly_makes_room_if_no_connection_is_idle() {
    let (gate, stop) = gate();
    let few = limits(|l| {
        l.connections = 2;
        l.request_time = 100 * SOON;
    });
    let front = start(few, gated(stop));
    let mut begun = Peer::connect(front.local_addr());
    let started = Instant::now();
    begun.send(&post("Expect: 100-continue\r\nContent-Length: 1\r\n", ""));
    // It is read, so the connection is not idle.
    assert_eq!(begun.answer().status, 100);
    let mut waiting = Peer::connect(front.local_addr());
    waiting.send(GATED);
    gate.wait_entered();
    begun.stream().set_nonblocking(true).unwrap();
    let mut last = None;
    eventually(SOON, "the request makes room", || {
        last = Some(Peer::connect(front.local_addr()));
        begun.stream().peek(&mut [0]).is_ok()
    });
    assert!(started.elapsed() >= millis(500), "{:?}", started.elapsed());
    begun.stream().set_nonblocking(false).unwrap();
    let reply = begun.answer();
    assert_eq!(reply.status, 408);
    let text = reply.text();
    assert!(text.contains("limit of 2 connections"), "{text}");
    drop(gate.open);
    assert_eq!(waiting.answer().status, 200);
}

#[test]
fn silent_connections_take_the_service_away_from_nobody() {
    let few = limits(|l| {
        l.connections = 64;
        l.idle_time = 100 * SOON;
        l.request_time = millis(700);
    });
    let front = start(few, echo);
    let begun = Instant::now();
    let mut silent: Vec<_> = (0..64).map(|_| Peer::connect(front.local_addr())).collect();
    for _ in 0..100 {
        assert_eq!(ask(front.local_addr(), GET).status, 200);
        silent.push(Peer::connect(front.local_addr()));
    }
    // Whoever never says a word has the time of a request, not that of a client
    // that is known.
    for peer in &mut silent {
        peer.wait_closed();
    }
    assert!(begun.elapsed() >= millis(700) && begun.elapsed() < SOON);
}
