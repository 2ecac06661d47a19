//! The HTTP front from outside: raw sockets against a front in this process,
//! with the handlers below, and against the real program.

mod delivery;
mod framing;
mod handlers;
mod lifecycle;
mod limits;
mod load;
mod memory;
mod origin;
mod parsers;
mod program;
mod stream;
mod wait;

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use messenger::http::{Front, Limits, Request, Response, Serving};

use crate::support::SOON;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Stops in the middle, in a handler that is [`gated`].
const GATED: &[u8] = b"GET /gate HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A front with one lane on a free port.
fn start(limits: Limits, handler: impl FnMut(Request) -> Response + Send + 'static) -> Serving {
    let front = Front::bind("127.0.0.1:0").expect("a free port");
    front.serve(limits, vec![handler], "http-loop").unwrap()
}

/// Answers with what it was asked: method, path, query and body.
fn echo(request: Request) -> Response {
    let Request {
        method,
        path,
        query,
        headers,
        body,
        ..
    } = request;
    let body = String::from_utf8_lossy(&body);
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    Response::text(200, format!("{method} {path}?{query} {body}"))
        .with_header("X-Fields", names.join(","))
}

/// The test's side of a gate in a handler: who is in, and how to let them out.
struct Gate {
    entered: Receiver<()>,
    /// Dropping it opens the gate for good.
    open: Sender<()>,
}

impl Gate {
    /// Returns when a handler has come to the gate.
    fn wait_entered(&self) {
        self.entered.recv_timeout(SOON).expect("a handler at work");
    }

    /// Lets one handler out.
    fn pass(&self) {
        self.open.send(()).expect("a handler that waits");
    }
}

/// A gate, and what a handler calls to stop at it.
fn gate() -> (Gate, impl Fn() + Clone + Send + 'static) {
    let (enter, entered) = unbounded();
    let (open, opened) = unbounded();
    let stop = move || {
        let _ = enter.send(());
        let _ = opened.recv_timeout(4 * SOON);
    };
    (Gate { entered, open }, stop)
}

/// An [`echo`] that stops at the gate on the path `/gate`.
fn gated(stop: impl Fn() + Clone + Send + 'static) -> impl Fn(Request) -> Response + Clone + Send {
    move |request| {
        if request.path == "/gate" {
            stop();
        }
        echo(request)
    }
}

/// A client that knows no HTTP but where an answer ends.
struct Peer(BufReader<TcpStream>);

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }

    fn closes(&self) -> bool {
        self.header("Connection") == Some("close")
    }
}

impl Peer {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(2 * SOON)).unwrap();
        stream.set_write_timeout(Some(2 * SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    fn send(&self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("a peer that listens");
    }

    /// Says that it will send no more, and still reads.
    fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a peer");
    }

    fn answer(&mut self) -> Reply {
        let mut reply = self.answer_head();
        let length = reply.header("Content-Length").map_or(0, |length| {
            length.parse().expect("a length that is a number")
        });
        reply.body.resize(length, 0);
        self.0.read_exact(&mut reply.body).expect("a whole body");
        reply
    }

    /// An answer that has no body, whatever its length says.
    fn answer_head(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).expect("an answer");
            assert!(read > 0, "closed after {head:?}");
        }
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| {
            let status = rest.get(..3)?;
            status.parse().ok()
        });
        Reply {
            status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
            head,
            body: Vec::new(),
        }
    }

    /// Waits until the front has closed its side. Panics if it says anything
    /// more, resets the connection, or stays silent.
    fn wait_closed(&mut self) {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest);
        assert!(
            end.is_ok() && rest.is_empty(),
            "{end:?} after {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Waits until the front has closed or reset the connection.
    fn wait_over(&mut self) {
        if let Err(end) = self.0.read_to_end(&mut Vec::new()) {
            assert_eq!(end.kind(), ErrorKind::ConnectionReset, "{end}");
        }
    }
}

/// One request on a connection of its own.
fn ask(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut peer = Peer::connect(address);
    peer.send(bytes);
    peer.answer()
}

/// `POST /x` with these fields and a body in its own right.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}").into_bytes()
}

/// The default limits but for one.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
