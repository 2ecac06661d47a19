//! Whether an answer reached its client: the callback comes exactly once when it
//! did not, and never when it did.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use messenger::http::{Limits, Request, Response, Serving};

use crate::support::{SOON, eventually};

use super::{GATED, Gate, Peer, ask, gate, limits, millis, start};

/// A front whose answer counts when it is lost.
struct Counting {
    front: Serving,
    gate: Gate,
    lost: Arc<AtomicUsize>,
}

impl Counting {
    /// Each answer has so many bytes, and leaves when the gate lets it.
    fn start(limits: Limits, size: usize) -> Self {
        let lost = Arc::new(AtomicUsize::new(0));
        let (gate, stop) = gate();
        let counter = lost.clone();
        let handler = move |_: Request| {
            stop();
            let counter = counter.clone();
            Response::text(200, "x".repeat(size)).on_undelivered(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            })
        };
        let front = start(limits, handler);
        Self { front, gate, lost }
    }

    fn connect(&self) -> Peer {
        Peer::connect(self.front.local_addr())
    }

    fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    /// Waits for exactly so many losses, and for none more until the end.
    fn expect_lost(self, count: usize) {
        eventually(SOON, "every lost answer is told", || self.lost() >= count);
        self.front.shutdown();
        assert_eq!(self.lost.load(Ordering::SeqCst), count);
    }
}

/// Whether the front's kernel knows that `peer` has closed or is gone, as far as
/// `/proc/net/tcp` tells.
fn is_known_to_be_gone(front: SocketAddr, peer: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let hex = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let (local, remote) = (hex(front), hex(peer));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
    !table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(local.as_str())
            && fields.next() == Some(remote.as_str())
            && fields.next() == Some(ESTABLISHED)
    })
}

/// A request whose client is gone before the answer leaves.
fn lose(counting: &Counting, leave: impl FnOnce(Peer)) {
    let peer = counting.connect();
    let ends = (
        counting.front.local_addr(),
        peer.stream().local_addr().unwrap(),
    );
    peer.send(GATED);
    counting.gate.wait_entered();
    eventually(SOON, "the table lists it", || {
        !is_known_to_be_gone(ends.0, ends.1)
    });
    leave(peer);
    eventually(SOON, "its end has arrived", || {
        is_known_to_be_gone(ends.0, ends.1)
    });
    let before = counting.lost();
    counting.gate.pass();
    eventually(SOON, "the loss is told", || counting.lost() > before);
}

fn reset(peer: &Peer) {
    let at_once = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(peer.stream(), at_once).unwrap();
}

#[test]
fn an_answer_for_a_client_that_is_gone_counts_as_undelivered() {
    for size in [10, 100_000, 20_000_000] {
        let counting = Counting::start(Limits::default(), size);
        lose(&counting, |peer| reset(&peer));
        lose(&counting, drop);
        // With the half of a next request, which nobody reads.
        lose(&counting, |peer| peer.send(b"POST /"));
        counting.expect_lost(3);
    }
}

#[test]
fn an_answer_that_nobody_reads_counts_as_undelivered_after_the_write_time() {
    let counting = Counting::start(limits(|l| l.write_time = millis(500)), 20_000_000);
    let mut peer = counting.connect();
    peer.send(GATED);
    counting.gate.pass();
    eventually(SOON, "the loss is told", || counting.lost() == 1);
    // It cannot take the torn answer for a whole one.
    let end = peer.0.read_to_end(&mut Vec::new());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    counting.expect_lost(1);
}

#[test]
fn a_client_that_reads_slowly_but_steadily_gets_all_of_an_answer() {
    const SIZE: usize = 20_000_000;
    let counting = Counting::start(limits(|l| l.write_time = millis(500)), SIZE);
    let mut peer = counting.connect();
    peer.send(GATED);
    counting.gate.pass();
    let begun = Instant::now();
    assert_eq!(peer.answer_head().status, 200);
    let mut piece = vec![0; SIZE / 100];
    for _ in 0..100 {
        peer.0.read_exact(&mut piece).expect("the next hundredth");
        // A rate is what is tested, and it takes time.
        std::thread::sleep(millis(20));
    }
    assert!(begun.elapsed() > millis(1500), "{:?}", begun.elapsed());
    counting.expect_lost(0);
}

#[test]
fn a_client_below_the_lowest_rate_does_not_get_all_of_an_answer() {
    let counting = Counting::start(limits(|l| l.write_time = millis(500)), 20_000_000);
    let mut peer = counting.connect();
    peer.send(GATED);
    counting.gate.pass();
    eventually(SOON, "the loss is told", || {
        let _ = peer.0.read(&mut [0; 20]);
        counting.lost() == 1
    });
    counting.expect_lost(1);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_has_not_got_it() {
    let counting = Counting::start(Limits::default(), 20_000_000);
    let mut peer = counting.connect();
    peer.send(GATED);
    counting.gate.pass();
    assert_eq!(peer.answer_head().status, 200);
    drop(peer);
    counting.expect_lost(1);
}

#[test]
fn an_answer_that_was_read_never_counts_as_undelivered() {
    for size in [10, 100_000, 5_000_000] {
        let counting = Counting::start(Limits::default(), size);
        let mut peer = counting.connect();
        for _ in 0..3 {
            peer.send(GATED);
            counting.gate.pass();
            assert_eq!(peer.answer().body.len(), size);
        }
        counting.expect_lost(0);
    }
}

#[test]
fn a_client_that_has_only_half_closed_gets_its_answers_and_none_counts_as_lost() {
    for size in [10, 100_000, 5_000_000] {
        let counting = Counting::start(Limits::default(), size);
        let mut peer = counting.connect();
        let address = peer.stream().local_addr().unwrap();
        peer.stream().write_all(&GATED.repeat(2)).unwrap();
        peer.half_close();
        eventually(SOON, "its end has arrived", || {
            is_known_to_be_gone(counting.front.local_addr(), address)
        });
        for _ in 0..2 {
            counting.gate.pass();
            assert_eq!(peer.answer().body.len(), size);
        }
        peer.wait_closed();
        counting.expect_lost(0);
    }
}

#[test]
fn an_answer_that_comes_too_late_counts_as_undelivered_once() {
    let counting = Counting::start(limits(|l| l.answer_time = millis(100)), 10);
    assert_eq!(ask(counting.front.local_addr(), GATED).status, 504);
    assert_eq!(counting.lost(), 0, "it may still be on its way");
    counting.gate.pass();
    counting.expect_lost(1);
}
