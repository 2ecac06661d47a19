//! Many clients, and clients that take their time: nobody waits for them.

use messenger::http::Limits;

use crate::support::SOON;

use super::{GET, Peer, ask, echo, limits, start};

#[test]
fn each_of_a_burst_of_kept_alive_connections_is_answered() {
    let front = start(Limits::default(), echo);
    let mut peers: Vec<_> = (0..50).map(|_| Peer::connect(front.local_addr())).collect();
    for _ in 0..3 {
        for (n, peer) in peers.iter().enumerate() {
            peer.send(format!("GET /{n} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.answer().text(), format!("GET /{n}? "));
        }
    }
}

#[test]
fn hundreds_of_connections_are_open_at_a_time() {
    let front = start(Limits::default(), echo);
    let mut peers: Vec<_> = (0..300)
        .map(|_| Peer::connect(front.local_addr()))
        .collect();
    for peer in peers.iter().rev() {
        peer.send(GET);
    }
    for peer in &mut peers {
        assert_eq!(peer.answer().status, 200);
    }
}

#[test]
fn a_slow_request_holds_nobody_up() {
    // Without an end to the slow ones: who waits for them waits for ever.
    let front = start(limits(|l| l.request_time = 100 * SOON), echo);
    let slow: [(&[u8], &[u8]); 3] = [
        (b"GET /x HTTP/1.1\r\nHo", b"st: localhost\r\n\r\n"),
        (
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
            b"-whole",
        ),
        (
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhal",
            b"f-half\r\n0\r\n\r\n",
        ),
    ];
    let mut peers = Vec::new();
    for _ in 0..10 {
        for (start, _) in slow {
            let peer = Peer::connect(front.local_addr());
            peer.send(start);
            peers.push(peer);
            assert_eq!(ask(front.local_addr(), GET).status, 200);
        }
    }
    for (peer, (_, end)) in peers.iter_mut().zip(slow.iter().cycle()) {
        peer.send(end);
        assert_eq!(peer.answer().status, 200);
    }
}

#[test]
fn a_client_that_does_not_read_its_answer_holds_nobody_up() {
    let front = start(limits(|l| l.write_time = 100 * SOON), |request| {
        if request.path == "/big" {
            return messenger::http::Response::text(200, "x".repeat(20_000_000));
        }
        echo(request)
    });
    let mut peer = Peer::connect(front.local_addr());
    peer.send(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let first = |peer: &Peer| peer.stream().peek(&mut [0]).expect("an answer begins");
    assert_eq!(first(&peer), 1);
    for _ in 0..20 {
        assert_eq!(ask(front.local_addr(), GET).status, 200);
    }
    assert_eq!(peer.answer().body.len(), 20_000_000);
    // Now that it has read, it is served on.
    peer.send(GET);
    assert_eq!(peer.answer().status, 200);
}
