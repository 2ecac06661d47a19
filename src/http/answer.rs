//! The answer as it comes from a lane, and its head as it goes to the client.
//!
//! Owns the parsing and the rewriting of answer heads, as pure functions of
//! bytes. It must not know sockets. A connection's thread runs it.

use std::io::{self, Write};

/// More than any handler here sends.
const FIELDS: usize = 128;

/// Where an answer's parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) head: usize,
    pub(super) body: usize,
}

/// How the head has to be for one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) http10: bool,
    pub(super) keep_alive: bool,
    pub(super) body: Body,
}

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// What the lane has sent with it.
    Whole,
    /// So many bytes of a stream.
    Sized(usize),
    /// A stream whose length is not known yet.
    Streamed,
}

/// How far the answer at the start of `bytes` reaches; `None` if its head is not
/// complete yet. `to_head`: it answers a HEAD request, so no body follows.
pub(super) fn measure(bytes: &[u8], to_head: bool) -> io::Result<Option<Extent>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let head = match answer.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    if to_head || has_no_body(answer.code) {
        return Ok(Some(Extent { head, body: 0 }));
    }
    let length = length(&answer).and_then(|value| value.parse().ok());
    let body = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some(Extent { head, body }))
}

/// Appends the head for the client: the status, the handler's fields, and the
/// framing of this connection. tiny_http's name is dropped, its Date is kept.
pub(super) fn encode_head(bytes: &[u8], style: Style, out: &mut Vec<u8>) -> io::Result<()> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    answer.parse(bytes).map_err(io::Error::other)?;
    let status = answer.code.unwrap_or(500);
    write!(
        out,
        "HTTP/1.1 {status} {}\r\n",
        answer.reason.unwrap_or_default()
    )?;
    for field in answer.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if !is("server") && !is("content-length") && !is("connection") {
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
    }
    match style.body {
        Body::Streamed if style.http10 => {}
        Body::Streamed => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::Sized(length) => write!(out, "Content-Length: {length}\r\n")?,
        Body::Whole => {
            let length = length(&answer).filter(|_| !has_no_body(answer.code));
            length.map_or(Ok(()), |length| write!(out, "Content-Length: {length}\r\n"))?;
        }
    }
    match (style.keep_alive, style.http10) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n\r\n"),
        (true, true) => out.extend_from_slice(b"Connection: keep-alive\r\n\r\n"),
        (true, false) => out.extend_from_slice(b"\r\n"),
    }
    Ok(())
}

pub(super) fn has_no_body(status: Option<u16>) -> bool {
    matches!(status, Some(204 | 304))
}

fn length<'a>(answer: &httparse::Response<'_, 'a>) -> Option<&'a str> {
    let field = answer
        .headers
        .iter()
        .find(|f| f.name.eq_ignore_ascii_case("content-length"))?;
    std::str::from_utf8(field.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: tiny-http (Rust)\r\nDate: now\r\n\
        Allow: POST\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn measures_whole_and_partial() {
        let head = ANSWER.len() - 5;
        assert_eq!(
            measure(ANSWER, false).unwrap(),
            Some(Extent { head, body: 5 })
        );
        assert_eq!(
            measure(ANSWER, true).unwrap(),
            Some(Extent { head, body: 0 })
        );
        assert_eq!(measure(&ANSWER[..20], false).unwrap(), None);
        assert!(measure(b"HTTP/1.1 200 OK\r\n\r\n", false).is_err());
    }

    #[test]
    fn the_head_fits_the_connection() {
        let head = |http10, keep_alive, body| {
            let mut out = Vec::new();
            let style = Style {
                http10,
                keep_alive,
                body,
            };
            encode_head(ANSWER, style, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let common = "HTTP/1.1 200 OK\r\nDate: now\r\nAllow: POST\r\n";
        for (http10, keep_alive, body, framing) in [
            (false, true, Body::Whole, "Content-Length: 5\r\n"),
            (
                true,
                false,
                Body::Sized(7),
                "Content-Length: 7\r\nConnection: close\r\n",
            ),
            (
                false,
                false,
                Body::Whole,
                "Content-Length: 5\r\nConnection: close\r\n",
            ),
            (
                true,
                true,
                Body::Whole,
                "Content-Length: 5\r\nConnection: keep-alive\r\n",
            ),
            (
                false,
                true,
                Body::Streamed,
                "Transfer-Encoding: chunked\r\n",
            ),
            (true, false, Body::Streamed, "Connection: close\r\n"),
        ] {
            let whole = format!("{common}{framing}\r\n");
            assert_eq!(head(http10, keep_alive, body), whole);
        }
    }
}
