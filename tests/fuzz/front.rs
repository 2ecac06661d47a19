//! The HTTP front's intake: any bytes, in any pieces, are the same requests, or a clear
//! refusal, within the memory that the limits allow.

use std::io;
use std::time::Duration;

use fastrand::Rng;
use messenger::budget::{Budget, Hold};
use messenger::http::{Client, Failure, Framing, Head, Intake, Limits, ReadError};

use super::driver::{Target, one_by_one, plain};

const WORDS: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
         |POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc|\r\n|\r\n\r\n|GET \
         |OPTIONS * |CONNECT a:1 | HTTP/1.1\r\n| HTTP/1.0\r\n| HTTP/2.0\r\n|http://b:80/c?d\
         |Host: [::1]:80\r\n|Host: a\r\n|Content-Length: 5\r\n|Content-Length: 6000\r\n\
         |Content-Length: 6001\r\n|Transfer-Encoding: chunked\r\n\
         |Transfer-Encoding: gzip, chunked\r\n|Connection: close, keep-alive\r\n\
         |Expect: 100-continue\r\n|X: y\r\n|X-Messenger-Request: 1\r\n|\r\n5\r\nhello\
         |\r\n0\r\n\r\n|1770\r\n|1771\r\n|ffffffffffffffff|;a=\"b\\\"\"|;a=b|Trailer: x\r\n\
         |#|%2e|é";

pub const REQUESTS: Target = Target {
    name: "front-requests",
    start: || {
        let mut limits = limits();
        one_by_one(move |input| judge(input, &mut limits))
    },
    words: WORDS,
    longest: 9000,
    together: 1,
};

/// All of it is the body of one request.
pub const CHUNKED: Target = Target {
    name: "front-chunked",
    start: || {
        let mut limits = limits();
        one_by_one(move |input| {
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            judge(&[head, input].concat(), &mut limits)
        })
    },
    ..REQUESTS
};

/// Small ones, which inputs of a few hundred bytes reach.
fn limits() -> Limits {
    Limits {
        header_bytes: 512,
        header_fields: 8,
        body_bytes: 6000,
        memory: Budget::new(1 << 20),
        ..Limits::default()
    }
}

/// The most that is read at a time, and a line of a chunked body before that.
const BUFFER: usize = 16 * 1024 + 256;
/// What a connection keeps without counting it.
const KEPT: usize = 4 * 1024;

/// Bytes in memory, which come in pieces.
struct Memory<'a> {
    rest: &'a [u8],
    /// How many bytes come at a time.
    piece: Box<dyn FnMut() -> usize>,
}

impl Client for Memory<'_> {
    fn read(&mut self, buffer: &mut Vec<u8>, most: usize, _: Duration) -> Result<usize, ReadError> {
        assert!((1..=BUFFER - buffer.len()).contains(&most), "reads {most}");
        let (now, rest) = self
            .rest
            .split_at((self.piece)().min(most).min(self.rest.len()));
        buffer.extend_from_slice(now);
        self.rest = rest;
        Ok(now.len())
    }

    fn write(&mut self, head: &[u8], _: &[u8]) -> io::Result<()> {
        assert_eq!(head, b"HTTP/1.1 100 Continue\r\n\r\n");
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Taken {
    requests: Vec<(Head, Vec<u8>)>,
    /// Status and sentence.
    refusal: Option<(u16, String)>,
}

fn take(input: &[u8], limits: &Limits, piece: impl FnMut() -> usize + 'static) -> Taken {
    let mut client = Memory {
        rest: input,
        piece: Box::new(piece),
    };
    let (mut intake, mut hold) = (Intake::default(), limits.memory.hold());
    let mut requests = Vec::new();
    let refusal = loop {
        let taken = intake.next(&mut client, limits, || (), &mut hold);
        within(&intake, &hold, limits);
        match taken {
            Ok(Some(head)) => requests.push((head, std::mem::take(&mut intake.body))),
            Ok(None) => break None,
            Err(Failure::Gone) => unreachable!("memory does not go"),
            Err(Failure::Refused(refusal)) => {
                break Some((refusal.status, refusal.message.into_owned()));
            }
        }
        hold.force(0);
    };
    Taken { requests, refusal }
}

fn within(intake: &Intake, hold: &Hold, limits: &Limits) {
    let (has, held) = (intake.body.capacity(), hold.bytes());
    assert!(
        has <= held.max(KEPT),
        "{has} bytes for a body, {held} counted"
    );
    assert!(held <= limits.body_bytes + BUFFER, "{held} bytes held");
    assert!(intake.body.len() <= limits.body_bytes);
}

fn judge(input: &[u8], limits: &mut Limits) -> String {
    let whole = take(input, limits, || usize::MAX);
    // The same pieces for the same bytes.
    let seed = input.iter().fold(input.len() as u64, |seed, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = Rng::with_seed(seed);
    // One in sixteen byte by byte, which takes long.
    let size = match rng.u32(..16) {
        0 => 1,
        bits => 1 << (2 + bits % 8),
    };
    let pieces = take(input, limits, move || rng.usize(1..=size));
    assert!(
        pieces == whole,
        "whole: {}, in pieces: {}",
        outcome(&whole),
        outcome(&pieces)
    );
    for (head, body) in &whole.requests {
        sound(head, body);
        again(head, body, limits);
    }
    let clear = |(status, why): &(u16, String)| {
        matches!(status, 400 | 413 | 414 | 417 | 431 | 501 | 505) && why.len() > 10
    };
    assert!(whole.refusal.as_ref().is_none_or(clear), "{whole:?}");
    outcome(&whole)
}

/// What a handler may rely on.
fn sound(head: &Head, body: &[u8]) {
    assert!(
        head.target.starts_with('/') || head.target == "*",
        "{head:?}"
    );
    assert!(
        head.target.bytes().all(|byte| byte.is_ascii_graphic()),
        "{head:?}"
    );
    assert!(head.host.is_some() || head.http10, "{head:?}");
    for (name, value) in &head.headers {
        let framing = [
            "content-length",
            "transfer-encoding",
            "connection",
            "trailer",
        ];
        assert!(!framing.contains(&&*name.to_ascii_lowercase()), "{head:?}");
        assert!(!name.is_empty() && !name.contains([' ', ':']), "{head:?}");
        let control = |c: char| c.is_ascii_control() && c != '\t';
        assert!(value.is_ascii() && !value.contains(control), "{head:?}");
    }
    match head.framing {
        Framing::Length(length) => assert_eq!(length, body.len()),
        Framing::Chunked => assert!(!head.http10),
    }
}

/// Written down plainly, it is the same request.
fn again(head: &Head, body: &[u8], limits: &mut Limits) {
    let version = if head.http10 { 0 } else { 1 };
    let mut text = format!("{} {} HTTP/1.{version}\r\n", head.method, head.target);
    for (name, value) in &head.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let connection = if head.keep_alive {
        "keep-alive"
    } else {
        "close"
    };
    text += &format!(
        "Connection: {connection}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // What was left out has made room; a target may take three bytes for one.
    let (bytes, fields) = (limits.header_bytes, limits.header_fields);
    (limits.header_bytes, limits.header_fields) = (4 * bytes, fields + 2);
    let taken = take(&[text.as_bytes(), body].concat(), limits, || usize::MAX);
    (limits.header_bytes, limits.header_fields) = (bytes, fields);
    let [(other, same_body)] = &*taken.requests else {
        panic!("{text:?}: {taken:?}");
    };
    assert_eq!(
        (
            &other.method,
            &other.target,
            &other.headers,
            other.keep_alive,
            &**same_body
        ),
        (
            &head.method,
            &head.target,
            &head.headers,
            head.keep_alive,
            body
        ),
    );
}

fn outcome(taken: &Taken) -> String {
    let mut outcome = String::new();
    if let Some((head, body)) = taken.requests.first() {
        outcome += match head.framing {
            Framing::Chunked if body.is_empty() => "empty chunks, ",
            Framing::Chunked => "chunks, ",
            Framing::Length(0) => "no body, ",
            Framing::Length(_) => "body, ",
        };
        outcome += if head.keep_alive { "" } else { "close, " };
    }
    outcome += if taken.requests.len() > 1 {
        "more, "
    } else {
        ""
    };
    if let Some((status, why)) = &taken.refusal {
        outcome += &format!("{status} {}", plain(why));
    }
    outcome
}
