//! The front's bounds and receipts hold with TLS too: a front in this process, and
//! sessions by OpenSSL.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use messenger::http::{Front, Limits, Request, Response, Serving};
use messenger::tls::{IdentityFiles, Named, ServerFiles};
use openssl::ssl::{ShutdownResult, SslStream};

use crate::support::certificates::Authority;
use crate::support::tls::session;
use crate::support::{SOON, eventually};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LARGE: usize = 20_000_000;

/// A front whose answers are so many bytes, and that counts those that are lost.
struct Counting {
    front: Serving,
    authority: Authority,
    lost: Arc<AtomicUsize>,
}

impl Counting {
    fn start(limits: Limits, size: usize) -> Self {
        let authority = Authority::new("ours");
        let pair = authority.issue(&["localhost"]);
        let named = |flag, path| Named { flag, path };
        let files = ServerFiles {
            identity: IdentityFiles {
                chain: named("--tls-cert", pair.certificate),
                key: named("--tls-key", pair.key),
            },
            client_ca: None,
        };
        let tls = Some(files.read().expect("a certificate"));
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = lost.clone();
        let handler = move |request: Request| {
            let counter = counter.clone();
            let body = match request.body.len() {
                0 => "x".repeat(size),
                sent => sent.to_string(),
            };
            Response::text(200, body).on_undelivered(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            })
        };
        let front = Front::bind("127.0.0.1:0").expect("a free port");
        let limits = Limits { tls, ..limits };
        let front = front.serve(limits, vec![handler], "http-loop").unwrap();
        Self {
            front,
            authority,
            lost,
        }
    }

    fn connect(&self) -> SslStream<TcpStream> {
        session(self.front.local_addr().port(), &self.authority, None).expect("a session")
    }

    fn expect_lost(self, count: usize) {
        eventually(SOON, "every lost answer is told", || {
            self.lost.load(Ordering::SeqCst) >= count
        });
        self.front.shutdown();
        assert_eq!(self.lost.load(Ordering::SeqCst), count);
    }
}

/// A whole answer's body.
fn answer(peer: &mut SslStream<TcpStream>) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    peer.read_exact(&mut body).expect("a whole body");
    body
}

fn short(time: impl FnOnce(&mut Limits, Duration)) -> Limits {
    let mut limits = Limits::default();
    time(&mut limits, Duration::from_millis(500));
    limits
}

#[test]
fn answers_of_every_size_arrive_whole_and_none_counts_as_lost() {
    for size in [1, 16_000, 16 * 1024, 100_000, 5_000_000] {
        let counting = Counting::start(Limits::default(), size);
        let mut peer = counting.connect();
        for _ in 0..3 {
            peer.write_all(GET).unwrap();
            assert_eq!(answer(&mut peer), vec![b'x'; size]);
        }
        // Two at once, in one record.
        peer.write_all(&GET.repeat(2)).unwrap();
        assert_eq!(
            (answer(&mut peer).len(), answer(&mut peer).len()),
            (size, size)
        );
        counting.expect_lost(0);
    }
}

#[test]
fn a_body_of_many_records_is_taken_in() {
    let counting = Counting::start(Limits::default(), 1);
    let mut peer = counting.connect();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n";
    peer.write_all(head.as_bytes()).unwrap();
    peer.write_all(&vec![b'y'; 500_000]).unwrap();
    assert_eq!(answer(&mut peer), b"500000");
    counting.expect_lost(0);
}

#[test]
fn who_has_said_goodbye_still_gets_the_answer_and_a_goodbye() {
    for size in [10, 5_000_000] {
        let counting = Counting::start(Limits::default(), size);
        let mut peer = counting.connect();
        peer.write_all(GET).unwrap();
        assert_eq!(peer.shutdown().unwrap(), ShutdownResult::Sent);
        assert_eq!(answer(&mut peer).len(), size);
        assert_eq!(peer.shutdown().unwrap(), ShutdownResult::Received);
        counting.expect_lost(0);
    }
}

#[test]
fn an_answer_before_a_close_ends_with_a_goodbye() {
    let counting = Counting::start(Limits::default(), 100_000);
    let mut peer = counting.connect();
    peer.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut all = Vec::new();
    // OpenSSL calls an end without a goodbye an error.
    peer.read_to_end(&mut all).expect("a goodbye");
    assert!(all.ends_with(&[b'x'; 1000]));
    counting.expect_lost(0);
}

#[test]
fn an_answer_for_a_client_that_is_gone_counts_as_undelivered() {
    let counting = Counting::start(Limits::default(), LARGE);
    let mut peer = counting.connect();
    peer.write_all(GET).unwrap();
    peer.read_exact(&mut [0; 100]).unwrap();
    drop(peer);
    counting.expect_lost(1);
}

#[test]
fn an_answer_that_nobody_reads_is_torn_after_the_write_time() {
    let counting = Counting::start(short(|limits, time| limits.write_time = time), LARGE);
    let mut peer = counting.connect();
    peer.write_all(GET).unwrap();
    eventually(SOON, "the loss is told", || {
        counting.lost.load(Ordering::SeqCst) == 1
    });
    // It cannot take the torn answer for a whole one.
    let end = peer.read_to_end(&mut Vec::new());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    counting.expect_lost(1);
}

#[test]
fn who_reads_slowly_but_steadily_gets_all_of_an_answer() {
    let counting = Counting::start(short(|limits, time| limits.write_time = time), LARGE);
    let mut peer = counting.connect();
    peer.write_all(GET).unwrap();
    let mut read = 0;
    let mut piece = vec![0; LARGE / 100];
    while read < LARGE {
        peer.read_exact(&mut piece).expect("the next hundredth");
        read += piece.len();
        // A rate is what is tested, and it takes time.
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(peer);
    counting.expect_lost(0);
}

#[test]
fn a_record_that_comes_byte_by_byte_is_not_waited_for_longer_than_a_request() {
    let counting = Counting::start(short(|limits, time| limits.request_time = time), 1);
    let mut peer = counting.connect();
    // The first half of a request, and then a record of 16 KiB without an end.
    peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let begun = Instant::now();
    let mut raw = peer.get_ref();
    raw.write_all(&[0x17, 3, 3, 0x40, 0]).unwrap();
    raw.set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut heard = [0; 1];
    // Each byte comes well within the time that one read may take.
    while raw
        .read(&mut heard)
        .is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    {
        let _ = raw.write_all(&[0]);
        assert!(begun.elapsed() < SOON, "still waited for");
    }
    // A 408 in its session: the peer has lost its own place in it.
    assert_eq!(heard[0], 0x17);
    counting.expect_lost(0);
}

#[test]
fn a_shutdown_takes_no_longer_with_open_sessions() {
    let counting = Counting::start(Limits::default(), 10);
    let mut peers: Vec<_> = (0..5).map(|_| counting.connect()).collect();
    peers[0].write_all(GET).unwrap();
    answer(&mut peers[0]);
    let begun = Instant::now();
    counting.front.shutdown();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    for mut peer in peers {
        peer.read_to_end(&mut Vec::new()).expect("a goodbye");
    }
}
