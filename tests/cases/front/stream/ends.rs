//! How a streamed answer ends when its client, its source or the front does.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use super::*;

#[test]
fn a_client_that_leaves_is_noticed_though_nothing_is_sent() {
    let streaming = Streaming::start(Limits::default());
    let leave: [fn(Peer); 3] = [
        drop,
        // Unread bytes make it a reset.
        |peer| {
            peer.send(GET);
            drop(peer);
        },
        |peer| {
            rustix::net::sockopt::set_socket_linger(peer.stream(), Some(Duration::ZERO)).unwrap();
        },
    ];
    for (n, leave) in leave.into_iter().enumerate() {
        let (peer, feeder, _) = streaming.open();
        leave(peer);
        wait_dropped(&feeder.dropped);
        eventually(SOON, "the loss is told", || streaming.lost() == n + 1);
    }
    // So is one that only said that it sends no more.
    let (mut peer, feeder, _) = streaming.open();
    peer.half_close();
    wait_dropped(&feeder.dropped);
    assert!(peer.read_to_reset().is_empty());
}

#[test]
fn a_client_that_has_half_closed_gets_a_stream_that_does_not_pause() {
    let streaming = Streaming::start(Limits::default());
    let (mut peer, feeder, _) = streaming.open();
    peer.half_close();
    for _ in 0..1000 {
        feeder.send(b"x");
    }
    drop(feeder);
    peer.expect(&[&b"1\r\nx\r\n".repeat(1000)[..], b"0\r\n\r\n"].concat());
    peer.wait_closed();
    streaming.front.shutdown();
    assert_eq!(streaming.lost.load(Ordering::SeqCst), 0);
}

#[test]
fn a_client_that_leaves_while_its_request_is_in_the_lane_leaves_no_source() {
    let (gate, stop) = gate();
    let (send, feeders) = unbounded();
    let at_gate = gated(stop);
    let front = start(limits(|l| l.answer_time = millis(300)), move |request| {
        at_gate(request);
        let (feeder, source) = feed();
        send.send(feeder).unwrap();
        Response::stream(TYPE, source)
    });
    let wait = || {
        let feeder = feeders.recv_timeout(SOON).expect("a stream");
        wait_dropped(&feeder.dropped);
    };
    let peer = Peer::connect(front.local_addr());
    peer.send(super::super::GATED);
    gate.wait_entered();
    drop(peer);
    gate.pass();
    wait();
    // One that was told that its answer is late.
    assert_eq!(ask(front.local_addr(), super::super::GATED).status, 504);
    gate.wait_entered();
    gate.pass();
    wait();
}

#[test]
fn a_client_that_does_not_read_is_cut_and_the_others_are_not() {
    let streaming = Streaming::start(limits(|l| l.write_time = millis(500)));
    let (mut deaf, deaf_feeder, _) = streaming.open();
    let (mut peer, feeder, _) = streaming.open();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    eventually(SOON, "the deaf client is cut", || {
        // More than the kernel buffers between the two.
        if sent < 64 && deaf_feeder.chunks.send(chunk.clone()).is_ok() {
            sent += 1;
        }
        feeder.send(b"x");
        peer.expect(b"1\r\nx\r\n");
        deaf_feeder.dropped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    });
    assert!(deaf.read_to_reset().len() < 64 << 20);
    eventually(SOON, "the loss is told", || streaming.lost() == 1);
    assert_eq!(ask(streaming.front.local_addr(), GET).status, 200);
}

#[test]
fn a_stream_that_pauses_longer_than_any_limit_of_time_goes_on() {
    struct Pausing(u32);
    impl Source for Pausing {
        fn next(&mut self, timeout: Duration) -> Next {
            self.0 += 1;
            if self.0 <= 2 {
                thread::sleep(timeout);
                return Next::Nothing;
            }
            Next::End
        }
    }
    let short = limits(|l| {
        l.write_time = millis(50);
        l.idle_time = millis(50);
        l.request_time = millis(50);
        l.answer_time = millis(500);
    });
    let front = start(short, |_| Response::stream(TYPE, Pausing(0)));
    let mut peer = Peer::connect(front.local_addr());
    peer.send(STREAM);
    assert_eq!(peer.answer_head().status, 200);
    peer.expect(b"0\r\n\r\n");
}

/// The timer that the kernel has set for the front's end of a connection.
fn timer(front: SocketAddr, peer: SocketAddr) -> String {
    let hex = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let ends = format!("{} {}", hex(front), hex(peer));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
    let row = table.lines().find(|line| line.contains(&ends));
    let fields = row.map(|row| row.split_whitespace().nth(5).unwrap_or_default());
    fields.unwrap_or_default().to_owned()
}

#[test]
fn the_kernel_asks_a_silent_client_whether_it_is_still_there() {
    const KEEP_ALIVE: &str = "02:";
    let streaming = Streaming::start(Limits::default());
    let (peer, _feeder, _) = streaming.open();
    let ends = (
        streaming.front.local_addr(),
        peer.stream().local_addr().unwrap(),
    );
    eventually(SOON, "a timer", || {
        timer(ends.0, ends.1).starts_with(KEEP_ALIVE)
    });
}

#[test]
fn a_stream_over_the_limit_is_503_until_another_ends() {
    let streaming = Streaming::start(limits(|l| l.streams = 2));
    let (_peer, _feeder, _) = streaming.open();
    let (_other, other_feeder, _) = streaming.open();
    let mut third = Peer::connect(streaming.front.local_addr());
    for n in 1..=3 {
        third.send(STREAM);
        let reply = third.answer();
        assert_eq!(reply.status, 503);
        assert_eq!(reply.header("Retry-After"), Some("1"));
        let text = reply.text();
        assert!(text.contains("limit of 2 open streams"), "{text}");
        assert!(!reply.closes());
        wait_dropped(&streaming.feeder().dropped);
        assert_eq!(streaming.lost(), n);
    }
    assert_eq!(ask(streaming.front.local_addr(), GET).status, 200);
    drop(other_feeder);
    eventually(SOON, "a place is free again", || {
        let mut peer = Peer::connect(streaming.front.local_addr());
        peer.send(STREAM);
        peer.answer_head().status == 200
    });
}

#[test]
fn a_source_that_panics_ends_its_own_connection_only() {
    let streaming = Streaming::start(Limits::default());
    let (mut peer, feeder, _) = streaming.open();
    let (mut other, other_feeder, _) = streaming.open();
    feeder.send(b"x");
    peer.expect(b"1\r\nx\r\n");
    feeder.send(PANIC);
    assert!(peer.read_to_reset().is_empty(), "it cannot look complete");
    wait_dropped(&feeder.dropped);
    other_feeder.send(b"x");
    other.expect(b"1\r\nx\r\n");
    assert_eq!(ask(streaming.front.local_addr(), GET).status, 200);
}

#[test]
fn a_source_that_panics_when_dropped_ends_nothing_but_its_stream() {
    struct Bomb;
    impl Source for Bomb {
        fn next(&mut self, _: Duration) -> Next {
            Next::End
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let front = start(Limits::default(), |request| Response {
        status: if request.path == "/empty" { 204 } else { 200 },
        ..Response::stream(TYPE, Bomb)
    });
    let mut peer = Peer::connect(front.local_addr());
    for _ in 0..3 {
        peer.send(STREAM);
        assert_eq!(peer.answer_head().status, 200);
        peer.expect(b"0\r\n\r\n");
        peer.send(b"HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(peer.answer_head().status, 200);
        // This one is dropped in the lane.
        peer.send(b"GET /empty HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(peer.answer_head().status, 204);
    }
}

#[test]
fn a_shutdown_ends_open_streams_and_those_that_are_complete_say_so() {
    let _machine = heavy();
    let streaming = Streaming::start(Limits::default());
    let mut silent: Vec<_> = (0..20).map(|_| streaming.open()).collect();
    let mut ended: Vec<_> = (0..20).map(|_| streaming.open()).collect();
    let ended: Vec<_> = ended
        .drain(..)
        .map(|(peer, feeder, _)| {
            for _ in 0..100 {
                feeder.send(b"x");
            }
            drop(feeder);
            peer
        })
        .collect();
    let begun = Instant::now();
    streaming.front.shutdown();
    // None had to be cut after the 2 s for what is in flight.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    for mut peer in ended {
        peer.expect(&[&b"1\r\nx\r\n".repeat(100)[..], b"0\r\n\r\n"].concat());
        peer.wait_closed();
    }
    for (peer, feeder, _) in &mut silent {
        assert!(peer.read_to_reset().is_empty(), "it cannot look complete");
        wait_dropped(&feeder.dropped);
    }
    assert_eq!(streaming.lost.load(Ordering::SeqCst), 20);
}

#[test]
fn a_shutdown_does_not_wait_for_a_source_that_never_pauses_or_never_returns() {
    struct Endless;
    impl Source for Endless {
        fn next(&mut self, _: Duration) -> Next {
            Next::Chunk(vec![b'x'; 1000])
        }
    }
    struct Stuck(Receiver<()>);
    impl Source for Stuck {
        fn next(&mut self, _: Duration) -> Next {
            let _ = self.0.recv();
            Next::Nothing
        }
    }
    let _machine = heavy();
    let (unstick, stuck) = bounded(0);
    let front = start(Limits::default(), move |request| match &*request.path {
        "/endless" => Response::stream(TYPE, Endless),
        _ => Response::stream(TYPE, Stuck(stuck.clone())),
    });
    let mut endless = Peer::connect(front.local_addr());
    endless.send(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(endless.answer_head().status, 200);
    let mut peer = Peer::connect(front.local_addr());
    peer.send(STREAM);
    assert_eq!(peer.answer_head().status, 200);
    // Its client reads, so that nothing but the shutdown can end it.
    let reader = thread::spawn(move || {
        let mut piece = [0; 4096];
        while endless.0.read(&mut piece).is_ok_and(|read| read > 0) {}
    });
    let begun = Instant::now();
    front.shutdown();
    // Less than 4 s are promised; the rest is for the other tests.
    assert!(begun.elapsed() < Duration::from_secs(5));
    peer.wait_over();
    reader.join().unwrap();
    drop(unstick);
}
