//! Answers that come bit by bit: they hold no lane, each client sees where they
//! end, and their sources are dropped whatever ends them.

use std::io::{ErrorKind, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use messenger::http::{Limits, Next, Request, Response, Serving, Source};

use crate::support::{SOON, eventually, heavy};

use super::{GET, Peer, Reply, ask, echo, gate, gated, limits, millis, start};

mod ends;

const STREAM: &[u8] = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
const TYPE: &str = "text/event-stream";
/// As a chunk, it makes the source panic.
const PANIC: &[u8] = b"panic";

/// Gives what its [`Feeder`] sends.
struct Feed {
    chunks: Receiver<Vec<u8>>,
    _dropped: Sender<()>,
}

impl Source for Feed {
    fn next(&mut self, timeout: Duration) -> Next {
        match self.chunks.recv_timeout(timeout) {
            Ok(chunk) => {
                assert_ne!(chunk, PANIC, "on purpose");
                Next::Chunk(chunk)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

/// The test's side of one stream. Dropping it ends the stream.
struct Feeder {
    chunks: Sender<Vec<u8>>,
    dropped: Receiver<()>,
}

impl Feeder {
    fn send(&self, chunk: &[u8]) {
        self.chunks.send(chunk.to_vec()).expect("an open stream");
    }

    fn end(self) -> Receiver<()> {
        self.dropped
    }
}

/// Waits until the front has dropped the source.
fn wait_dropped(dropped: &Receiver<()>) {
    let end = dropped.recv_timeout(SOON);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected), "a dropped source");
}

fn feed() -> (Feeder, Feed) {
    let (send, chunks) = unbounded();
    let (alive, dropped) = bounded(0);
    let feeder = Feeder {
        chunks: send,
        dropped,
    };
    let source = Feed {
        chunks,
        _dropped: alive,
    };
    (feeder, source)
}

/// A front that streams on `/stream`, and where the test gets the feeders from.
struct Streaming {
    front: Serving,
    feeders: Receiver<Feeder>,
    /// Answers that were lost.
    lost: Arc<AtomicUsize>,
}

impl Streaming {
    fn start(limits: Limits) -> Self {
        let (send, feeders) = unbounded();
        let lost = Arc::<AtomicUsize>::default();
        let counter = lost.clone();
        let handler = move |request: Request| {
            if request.path != "/stream" {
                return echo(request);
            }
            let (feeder, source) = feed();
            let _ = send.send(feeder);
            let counter = counter.clone();
            Response::stream(TYPE, source).on_undelivered(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            })
        };
        Self {
            front: start(limits, handler),
            feeders,
            lost,
        }
    }

    /// A client at the start of a stream.
    fn open(&self) -> (Peer, Feeder, Reply) {
        let mut peer = Peer::connect(self.front.local_addr());
        peer.send(STREAM);
        let head = peer.answer_head();
        assert_eq!(head.status, 200);
        (peer, self.feeder(), head)
    }

    fn feeder(&self) -> Feeder {
        self.feeders.recv_timeout(SOON).expect("a stream")
    }

    fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Peer {
    /// Reads exactly these bytes.
    fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.0.read_exact(&mut got).expect("more of the stream");
        assert_eq!(
            got.escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
    }

    /// What comes until the connection is reset.
    fn read_to_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest).map_err(|e| e.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        rest
    }
}

#[test]
fn chunks_arrive_one_by_one_and_the_only_lane_answers_others_meanwhile() {
    let streaming = Streaming::start(Limits::default());
    let address = streaming.front.local_addr();
    let (mut peer, feeder, head) = streaming.open();
    assert_eq!(head.header("Content-Type"), Some(TYPE));
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(head.header("Content-Length"), None);
    assert!(!head.closes());
    let (mut other, other_feeder, _) = streaming.open();
    for n in 0..20 {
        feeder.send(format!("event {n}\n").as_bytes());
        let size = if n < 10 { 8 } else { 9 };
        peer.expect(format!("{size:x}\r\nevent {n}\n\r\n").as_bytes());
        assert_eq!(ask(address, GET).status, 200);
        // It would look like the end.
        feeder.send(b"");
    }
    feeder.send(&[b'a'; 300]);
    peer.expect(&[b"12c\r\n", &[b'a'; 300][..], b"\r\n"].concat());
    let dropped = feeder.end();
    peer.expect(b"0\r\n\r\n");
    wait_dropped(&dropped);

    // The connection stays, and so does the other stream.
    for _ in 0..2 {
        peer.send(GET);
        assert_eq!(peer.answer().text(), "GET /x? ");
    }
    peer.send(STREAM);
    assert_eq!(peer.answer_head().status, 200);
    drop(streaming.feeder());
    peer.expect(b"0\r\n\r\n");
    other_feeder.send(b"x");
    other.expect(b"1\r\nx\r\n");
    assert_eq!(streaming.lost(), 0);
}

#[test]
fn a_request_behind_a_stream_waits_for_its_end() {
    let streaming = Streaming::start(Limits::default());
    let mut peer = Peer::connect(streaming.front.local_addr());
    peer.send(&[STREAM, GET].concat());
    let feeder = streaming.feeder();
    peer.answer_head();
    feeder.send(b"x");
    peer.expect(b"1\r\nx\r\n");
    drop(feeder);
    peer.expect(b"0\r\n\r\n");
    assert_eq!(peer.answer().text(), "GET /x? ");
}

#[test]
fn http_1_0_gets_plain_bytes_until_the_connection_ends() {
    let streaming = Streaming::start(Limits::default());
    let mut peer = Peer::connect(streaming.front.local_addr());
    peer.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let head = peer.answer_head();
    assert!(head.closes(), "{}", head.head);
    assert_eq!(head.header("Transfer-Encoding"), None);
    assert_eq!(head.header("Content-Length"), None);
    let feeder = streaming.feeder();
    for chunk in [&b"one"[..], b"", b"two"] {
        feeder.send(chunk);
        peer.expect(chunk);
    }
    let dropped = feeder.end();
    peer.wait_closed();
    wait_dropped(&dropped);
    assert_eq!(streaming.lost(), 0);
}

#[test]
fn a_client_that_asks_for_a_close_gets_it_behind_the_last_chunk() {
    let streaming = Streaming::start(Limits::default());
    let mut peer = Peer::connect(streaming.front.local_addr());
    peer.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let head = peer.answer_head();
    assert!(head.closes() && head.header("Transfer-Encoding") == Some("chunked"));
    let feeder = streaming.feeder();
    feeder.send(b"x");
    drop(feeder);
    peer.expect(b"1\r\nx\r\n0\r\n\r\n");
    peer.wait_closed();
}

#[test]
fn head_gets_the_head_alone_and_takes_no_place() {
    let streaming = Streaming::start(limits(|l| l.streams = 0));
    let mut peer = Peer::connect(streaming.front.local_addr());
    peer.send(b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = peer.answer_head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    wait_dropped(&streaming.feeder().dropped);
    peer.send(GET);
    assert_eq!(peer.answer().text(), "GET /x? ");
    assert_eq!(streaming.lost(), 0);
}

#[test]
fn a_status_without_a_body_has_no_stream_and_a_body_beside_one_is_not_sent() {
    let front = start(Limits::default(), |request| {
        let mut response = Response::stream(TYPE, feed().1);
        match request.path.as_str() {
            "/empty" => response.status = 204,
            _ => response.body = b"a body".to_vec(),
        }
        response
    });
    let mut peer = Peer::connect(front.local_addr());
    peer.send(b"GET /empty HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = peer.answer_head();
    assert_eq!(head.status, 204);
    assert_eq!(head.header("Transfer-Encoding"), None, "{}", head.head);
    peer.send(GET);
    assert_eq!(peer.answer_head().status, 200);
    peer.expect(b"0\r\n\r\n");
}
