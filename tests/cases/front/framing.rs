//! Where a request ends and what is in it: what is ambiguous is refused, and
//! what follows it is never taken for a request.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use messenger::http::{Limits, Request};

use crate::support::SOON;

use super::{GET, Peer, ask, echo, post, start};

/// In the place of a body. Nobody may ever hear of it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn code(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        413 | 414 | 431 => "RESOURCE_EXHAUSTED",
        417 => "FAILED_PRECONDITION",
        501 | 505 => "UNIMPLEMENTED",
        other => panic!("{other} is no answer to a bad request"),
    }
}

#[test]
fn a_bad_request_is_refused_in_json_and_nothing_of_it_reaches_the_handler() {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = paths.clone();
    let front = start(Limits::default(), move |request: Request| {
        seen.lock().unwrap().push(request.path.clone());
        echo(request)
    });
    let with = |fields: &str| post(fields, SMUGGLED);
    let both = |fields: &str| {
        let fields = format!("{fields}\r\nTransfer-Encoding: chunked\r\n");
        post(&fields, &format!("0\r\n\r\n{SMUGGLED}"))
    };
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (with("Content-Length: 200000000000\r\n"), 413),
        (with("Content-Length: 9223372036854775808\r\n"), 413),
        (with("Content-Length: 99999999999999999999999\r\n"), 413),
        (with("Content-Length: abc\r\n"), 400),
        (with("Content-Length:\r\n"), 400),
        (with("Content-Length: +5\r\n"), 400),
        (with("Content-Length: -1\r\n"), 400),
        (with("Content-Length: 0x5\r\n"), 400),
        (with("Content-Length: 0\r\nContent-Length: 36\r\n"), 400),
        (with("Content-Length: 0, 0\r\n"), 400),
        (both("Content-Length: 0"), 400),
        (both("Content-Length: 36"), 400),
        (with("Transfer-Encoding: gzip\r\n"), 501),
        (both("Transfer-Encoding: gzip"), 501),
        (with("Transfer-Encoding: chunked, chunked\r\n"), 501),
        (chunked("x\r\nhello\r\n0\r\n\r\n"), 400),
        (chunked("\r\n"), 400),
        (chunked("-1\r\n"), 400),
        (chunked("5\r\nhelloo\r\n0\r\n\r\n"), 400),
        (chunked("ffffffffffffffffffff\r\n"), 413),
        (with("Expect: x\r\n"), 417),
        (with("Host: again\r\n"), 400),
        (chunked("5 \r\nhello\r\n0\r\n\r\n"), 400),
        (chunked("5;a b\r\nhello\r\n0\r\n\r\n"), 400),
        (chunked("5\r\nhello\r\n0\r\nno trailer\r\n\r\n"), 400),
        (b"GET /x HTTP/1.1\nHost: localhost\n\n".to_vec(), 400),
        (b"GET /x HTTP/1.1\r\nHost: a,b\r\n\r\n".to_vec(), 400),
        (b"GET /x HTTP/1.1\r\nHost: u@h\r\n\r\n".to_vec(), 400),
        (b"GET /x HTTP/1.1\r\nHost:\r\n\r\n".to_vec(), 400),
        (
            b"GET /x HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".to_vec(),
            400,
        ),
        (
            b"GET /x y HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            400,
        ),
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n".to_vec(), 501),
        (with("A : b\r\n"), 400),
        (with("A: b\r\n folded\r\n"), 400),
        (with("A: \0\r\n"), 400),
        (b"GET /x HTTP/1.1\r\n\r\n".to_vec(), 400),
        (b"GET x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 400),
        (
            b"GET /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            400,
        ),
        (b"GET /x HTTP/3.0\r\nHost: localhost\r\n\r\n".to_vec(), 505),
        (b"GET /x FTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 400),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            400,
        ),
        (with(&"A: b\r\n".repeat(70)), 431),
    ];
    let count = cases.len();
    for (bytes, status) in cases {
        let name = bytes[..bytes.len().min(120)].escape_ascii();
        let mut peer = Peer::connect(front.local_addr());
        peer.send(&bytes);
        let reply = peer.answer();
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        assert!(reply.closes(), "{name}: {}", reply.head);
        let kind = reply.header("Content-Type");
        assert_eq!(kind, Some("application/json; charset=utf-8"), "{name}");
        let json: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(json["error"]["code"], code(status), "{name}");
        assert_ne!(json["error"]["message"].as_str().unwrap(), "", "{name}");
        // No second answer: what was in the place of a body is no request.
        peer.half_close();
        peer.wait_closed();
        assert_eq!(ask(front.local_addr(), GET).status, 200, "{name}");
    }
    assert_eq!(*paths.lock().unwrap(), vec!["/x"; count]);
}

#[test]
fn a_request_that_ends_early_is_told_so_and_never_handled() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let front = start(Limits::default(), move |request: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(request)
    });
    let whole = [
        post("Content-Length: 5\r\n", "hello"),
        post(
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        ),
    ];
    for bytes in whole {
        for end in 1..bytes.len() {
            let mut peer = Peer::connect(front.local_addr());
            peer.send(&bytes[..end]);
            peer.half_close();
            assert_eq!(peer.answer().status, 400, "{end} bytes");
            peer.wait_closed();
        }
        assert_eq!(calls.swap(0, Ordering::SeqCst), 0);
        assert_eq!(ask(front.local_addr(), &bytes).text(), "POST /x? hello");
        assert_eq!(calls.swap(0, Ordering::SeqCst), 1);
    }
    // Silence is no request at all, and no answer is due.
    let mut silent = Peer::connect(front.local_addr());
    silent.half_close();
    silent.wait_closed();
}

#[test]
fn a_body_comes_in_any_pieces_by_length_or_in_chunks() {
    let front = start(Limits::default(), echo);
    let whole = [
        post("Content-Length: 5\r\n", "hello"),
        post("Content-Length: 5\r\ncontent-length: 5\r\n", "hello"),
        post(
            "transfer-encoding: Chunked\r\n",
            "3;e=\"1\"\r\nhel\r\n02\r\nlo\r\n0\r\nT: 1\r\n\r\n",
        ),
    ];
    let mut peer = Peer::connect(front.local_addr());
    for bytes in &whole {
        for cut in 1..bytes.len() {
            peer.send(&bytes[..cut]);
            peer.send(&bytes[cut..]);
            assert_eq!(peer.answer().text(), "POST /x? hello", "cut at {cut}");
        }
    }
    // No length is an empty body, and a body of none is one too.
    for bytes in [
        post("", ""),
        post("Content-Length: 0\r\n", ""),
        post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ] {
        peer.send(&bytes);
        assert_eq!(peer.answer().text(), "POST /x? ");
    }
}

#[test]
fn expect_is_met_with_100_continue_and_only_if_the_body_will_be_taken() {
    let front = start(Limits::default(), echo);
    let mut peer = Peer::connect(front.local_addr());
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        peer.send(&post(&format!("Expect: 100-continue\r\n{framing}\r\n"), ""));
        assert_eq!(peer.answer_head().status, 100, "{framing}");
        peer.send(body.as_bytes());
        let reply = peer.answer();
        assert_eq!((reply.status, reply.text()), (200, "POST /x? hello"));
    }
    // Nothing to wait for: no interim answer.
    peer.send(&post("Expect: 100-continue\r\n", ""));
    assert_eq!(peer.answer().text(), "POST /x? ");
    peer.send(&post(
        "Expect: 100-continue\r\nContent-Length: 9999999\r\n",
        "",
    ));
    assert_eq!(peer.answer().status, 413);
    peer.wait_closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let front = start(Limits::default(), echo);
    let mut peer = Peer::connect(front.local_addr());
    let mut all = Vec::new();
    for n in 0..200 {
        // The field is the front's own between it and its lane.
        let fields = "X-Front-Request: 0\r\nContent-Length: 3\r\nX-Mine: 1\r\n";
        write!(
            all,
            "POST /{n} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\nabc\
             PUT /{n} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\n\r\n"
        )
        .unwrap();
    }
    peer.send(&all);
    for n in 0..200 {
        let reply = peer.answer();
        assert_eq!(reply.text(), format!("POST /{n}? abc"));
        assert_eq!(reply.header("X-Fields"), Some("Host,X-Mine"));
        assert_eq!(peer.answer().text(), format!("PUT /{n}? d"));
    }
    // A bad one ends it: what follows is not looked at.
    peer.send(&[GET, b"GET /x HTTP/1.1\r\n\r\n", GET].concat());
    assert_eq!(peer.answer().status, 200);
    assert_eq!(peer.answer().status, 400);
    peer.half_close();
    peer.wait_closed();
}

#[test]
fn head_options_absolute_targets_and_any_method_are_understood() {
    let front = start(Limits::default(), echo);
    let mut peer = Peer::connect(front.local_addr());
    peer.send(b"HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    peer.send(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
    peer.send("GET /\u{e9}?\u{e9} HTTP/1.1\r\nHost: localhost\r\n\r\n".as_bytes());
    peer.send(b"BREW http://localhost/tea?a=b?c HTTP/1.1\r\nHost: localhost\r\nConnection: x, Close\r\n\r\n");
    let head = peer.answer_head();
    let length = "HEAD /x? ".len().to_string();
    assert_eq!(head.header("Content-Length"), Some(length.as_str()));
    let server = peer.answer();
    assert_eq!(
        (server.status, server.header("Allow").is_some()),
        (204, true)
    );
    assert_eq!(peer.answer().text(), "GET /%C3%A9?%C3%A9 ");
    let last = peer.answer();
    assert_eq!(last.text(), "BREW /tea?a=b?c ");
    assert!(last.closes());
    peer.wait_closed();
}

#[test]
fn a_client_of_http_1_0_is_closed_unless_it_asks_to_stay() {
    let front = start(Limits::default(), echo);
    let mut old = Peer::connect(front.local_addr());
    old.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(old.answer().header("Connection"), Some("keep-alive"));
    // It knows neither Host nor expectations.
    old.send(b"POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab");
    let reply = old.answer();
    assert_eq!((reply.status, reply.text()), (200, "POST /x? ab"));
    assert!(reply.closes());
    old.wait_closed();
}

#[test]
fn a_client_that_half_closes_gets_every_answer() {
    let front = start(Limits::default(), echo);
    let mut peer = Peer::connect(front.local_addr());
    peer.send(&GET.repeat(3));
    peer.half_close();
    let started = std::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(peer.answer().text(), "GET /x? ");
    }
    peer.wait_closed();
    // Not the idle time: the front has seen that nothing more comes.
    assert!(started.elapsed() < SOON);
}
