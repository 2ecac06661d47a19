//! Handlers that panic, answer nonsense or are late: the lane stays in step and
//! the next request gets its own answer.

use std::thread;

use messenger::http::{Limits, Request, Response};

use crate::support::{SOON, eventually};

use super::{GATED, GET, Peer, ask, echo, gate, gated, limits, millis, start};

/// In a body. Never the answer to the next request.
const NEXT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn misbehave(request: Request) -> Response {
    match request.path.as_str() {
        "/panic" => panic!("on purpose"),
        "/status" => Response::text(99, ""),
        "/split" => Response::text(200, "split")
            .with_header("X-Bad\r\nInjected", "1")
            .with_header("X-Good", "1")
            .with_header("X", "a\r\nY: b"),
        "/length" => Response::text(200, "12345").with_header("Content-Length", "7"),
        "/empty" => Response {
            status: 204,
            ..Response::default()
        },
        "/wide" => (0..200).fold(Response::text(200, NEXT.repeat(1000)), |response, n| {
            response.with_header(format!("X-{n}"), "1")
        }),
        _ => echo(request),
    }
}

fn get(peer: &mut Peer, path: &str) -> super::Reply {
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    peer.answer()
}

#[test]
fn a_handler_that_panics_answers_500_and_is_called_again() {
    let front = start(Limits::default(), misbehave);
    let mut peer = Peer::connect(front.local_addr());
    for _ in 0..3 {
        let reply = get(&mut peer, "/panic");
        assert_eq!(reply.status, 500);
        assert!(!reply.text().contains("on purpose"), "{}", reply.text());
        assert_eq!(get(&mut peer, "/y").text(), "GET /y? ");
    }
}

#[test]
fn what_a_handler_may_not_say_does_not_reach_the_wire() {
    let front = start(Limits::default(), misbehave);
    let mut peer = Peer::connect(front.local_addr());
    assert_eq!(get(&mut peer, "/status").status, 500);
    let split = get(&mut peer, "/split");
    assert_eq!((split.status, split.text()), (200, "split"));
    assert_eq!(split.header("X-Good"), Some("1"));
    for name in ["X-Bad", "Injected", "X", "Y"] {
        assert_eq!(split.header(name), None, "{}", split.head);
    }
    assert_eq!(get(&mut peer, "/length").text(), "12345");
    let empty = get(&mut peer, "/empty");
    assert_eq!(empty.status, 204);
    assert_eq!(empty.header("Content-Length"), None, "{}", empty.head);
    // After 204 nothing follows: the next answer is its own.
    assert_eq!(get(&mut peer, "/y").text(), "GET /y? ");
}

#[test]
fn a_lane_that_breaks_is_opened_again() {
    let front = start(Limits::default(), misbehave);
    let mut peer = Peer::connect(front.local_addr());
    for _ in 0..20 {
        // More header fields than the front reads from a lane.
        assert_eq!(get(&mut peer, "/wide").status, 502);
        assert_eq!(get(&mut peer, "/y").text(), "GET /y? ");
    }
}

#[test]
fn a_request_that_finds_no_free_lane_in_time_is_503() {
    let (gate, stop) = gate();
    let front = start(limits(|l| l.lane_wait = millis(100)), gated(stop));
    let mut first = Peer::connect(front.local_addr());
    first.send(GATED);
    gate.wait_entered();
    let mut second = Peer::connect(front.local_addr());
    second.send(GET);
    let reply = second.answer();
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("Retry-After"), Some("1"));
    assert!(
        !reply.closes(),
        "the request was whole: the connection stays"
    );
    gate.pass();
    assert_eq!(first.answer().text(), "GET /gate? ");
    eventually(SOON, "the lane is free", || {
        second.send(GET);
        second.answer().status == 200
    });
}

#[test]
fn a_late_answer_is_504_and_never_goes_to_the_next_request() {
    let (gate, stop) = gate();
    let late = limits(|l| {
        l.answer_time = millis(300);
        l.lane_wait = millis(100);
    });
    let front = start(late, gated(stop));
    for _ in 0..3 {
        let reply = ask(front.local_addr(), GATED);
        assert_eq!(reply.status, 504, "{}", reply.text());
        gate.wait_entered();
        assert_eq!(ask(front.local_addr(), GET).status, 503, "still at work");
        gate.pass();
        eventually(SOON, "the lane is free", || {
            let reply = ask(
                front.local_addr(),
                b"GET /y HTTP/1.1\r\nHost: localhost\r\n\r\n",
            );
            assert!(matches!(reply.status, 200 | 503 | 504), "{}", reply.head);
            assert!(reply.status != 200 || reply.text() == "GET /y? ");
            reply.status == 200
        });
    }
}

#[test]
fn several_lanes_run_at_the_same_time_and_each_answers_its_own_client() {
    const LANES: usize = 16;
    let (gate, stop) = gate();
    let front = messenger::http::Front::bind("127.0.0.1:0").unwrap();
    let lanes = vec![gated(stop); LANES];
    let front = front.serve(Limits::default(), lanes, "http-lane").unwrap();
    let address = front.local_addr();
    let clients: Vec<_> = (0..LANES)
        .map(|n| {
            let request = format!("GET /gate?{n} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            thread::spawn(move || ask(address, request.as_bytes()))
        })
        .collect();
    for _ in 0..LANES {
        gate.wait_entered();
    }
    drop(gate);
    for (n, client) in clients.into_iter().enumerate() {
        assert_eq!(client.join().unwrap().text(), format!("GET /gate?{n} "));
    }
}
