//! A handler's types: a whole [`Request`] in, a whole [`Response`] out.
//!
//! Owns [`Request`], [`Response`] and the front's own refusals with their fixed
//! table of codes. It must not know sockets, tiny_http or how bytes are framed.
//! No thread of its own runs it.

use std::borrow::Cow;

use super::stream::Source;
use crate::budget::{Full, Hold};

/// A complete, well-formed request, within the [`Limits`](super::Limits).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// As the client sent it: any token is let through, so check it.
    pub method: String,
    /// The target without its query, not percent-decoded.
    pub path: String,
    /// What follows the first `?`, or empty.
    pub query: String,
    /// In the client's order, names in the client's spelling. Framing and
    /// hop-by-hop fields are gone, and so are fields whose value is not ASCII.
    pub headers: Vec<(String, String)>,
    /// Decoded: chunked framing is gone.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of the first header field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        let field = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }
}

/// Called once if an answer did not reach the client: see [`Response::on_undelivered`].
pub type Undelivered = Box<dyn FnOnce() + Send>;

/// A complete answer, or the start of a streamed one. The front adds the fields
/// of framing: `Content-Length` or `Transfer-Encoding`, and `Connection`.
#[derive(Default)]
pub struct Response {
    /// 200 to 599. Anything else is logged and sent as 500.
    pub status: u16,
    /// ASCII names and values. A field that cannot be sent is logged and left out.
    pub headers: Vec<(String, String)>,
    /// Not sent for HEAD, 204 and 304.
    pub body: Vec<u8>,
    /// See [`Response::on_undelivered`].
    pub undelivered: Option<Undelivered>,
    /// Sent instead of `body`, see [`Response::stream`].
    pub stream: Option<Box<dyn Source>>,
    /// The bytes that `stream` will give, if that is known.
    pub length: Option<usize>,
    /// What the handler holds of the budget for this answer, until the client has
    /// taken it or is gone.
    pub hold: Option<Hold>,
}

/// The content type of every JSON answer.
const JSON: &str = "application/json; charset=utf-8";

impl Response {
    /// An answer with a JSON body, which the caller has serialised.
    pub fn json(status: u16, body: impl Into<String>) -> Response {
        Response::typed(status, JSON, body.into())
    }

    /// An answer with a plain text body in UTF-8.
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        Response::typed(status, "text/plain; charset=utf-8", body.into())
    }

    /// An error answer: `{"error":{"code":"UNAVAILABLE","message":"..."}}`, with
    /// `Retry-After` if it is a 503.
    pub fn error(status: u16, code: &str, message: impl AsRef<str>) -> Response {
        let error = serde_json::json!({"error": {"code": code, "message": message.as_ref()}});
        let response = Response::json(status, error.to_string());
        match status {
            503 => response.with_header("Retry-After", "1"),
            _ => response,
        }
    }

    /// An answer of status 200 whose body is what `source` gives, each chunk sent
    /// when it comes, on the thread of the client's connection. The lane is
    /// free as soon as the handler returns. HTTP/1.1 clients get it chunked, so
    /// that they can tell the end from a cut; for HTTP/1.0 the end is that of
    /// the connection. Nothing is queued for a client that reads slowly: its
    /// source decides what it misses.
    ///
    /// A client that has closed its side counts as gone once the source has had
    /// nothing for a second, even if it still reads. One that vanished without closing
    /// is noticed by TCP keepalive within about half a minute.
    ///
    /// End the sources before the front's shutdown, so that clients see an end:
    /// a source that has none by then is cut off.
    pub fn stream(content_type: &str, source: impl Source + 'static) -> Response {
        Response {
            stream: Some(Box::new(source)),
            ..Response::typed(200, content_type, String::new())
        }
    }

    /// 405 for a path that takes only these methods, "GET, HEAD" for instance.
    pub fn wrong_method(allowed: &str) -> Response {
        let message = format!("this path takes {allowed}");
        Response::error(405, "UNIMPLEMENTED", message).with_header("Allow", allowed)
    }

    /// Adds a header field behind those that are there.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Asks for `call` to be called exactly once if this answer could not be
    /// written to the client, and never if it could. "Written" means taken by
    /// the kernel for a client that had not closed its side by then, or
    /// acknowledged by the client's kernel if it had. A streamed answer is
    /// written when its source has ended and all of it was.
    ///
    /// It runs on a connection's thread, which has a small stack, or on the
    /// lane's: it must be short and must not wait for a lane.
    #[must_use]
    pub fn on_undelivered(mut self, call: impl FnOnce() + Send + 'static) -> Response {
        self.undelivered = Some(Box::new(call));
        self
    }

    fn typed(status: u16, content_type: &str, body: String) -> Response {
        Response {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.into_bytes(),
            ..Response::default()
        }
    }
}

/// Why the front itself refuses a request: a status and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            status,
            message: message.into(),
        }
    }

    /// Malformed in a way that leaves the rest of the connection meaningless.
    pub(super) fn malformed(message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(400, message)
    }

    /// The whole answer on the wire. With `close`, it says so.
    pub(super) fn encode(&self, close: bool, with_body: bool) -> Vec<u8> {
        let (reason, code) = describe(self.status);
        let response = Response::error(self.status, code, &self.message);
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\n{}{}\r\n",
            self.status,
            response.body.len(),
            if self.status == 503 {
                "Retry-After: 1\r\n"
            } else {
                ""
            },
            if close { "Connection: close\r\n" } else { "" },
        )
        .into_bytes();
        if with_body {
            bytes.extend_from_slice(&response.body);
        }
        bytes
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Refusal {
        Refusal::new(503, full.to_string())
    }
}

/// Reason phrase and error code of each status that the front itself answers.
fn describe(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Bad Request", "INVALID_ARGUMENT"),
        403 => ("Forbidden", "PERMISSION_DENIED"),
        408 => ("Request Timeout", "DEADLINE_EXCEEDED"),
        413 => ("Content Too Large", "RESOURCE_EXHAUSTED"),
        414 => ("URI Too Long", "RESOURCE_EXHAUSTED"),
        417 => ("Expectation Failed", "FAILED_PRECONDITION"),
        421 => ("Misdirected Request", "PERMISSION_DENIED"),
        431 => ("Request Header Fields Too Large", "RESOURCE_EXHAUSTED"),
        501 => ("Not Implemented", "UNIMPLEMENTED"),
        502 => ("Bad Gateway", "INTERNAL"),
        503 => ("Service Unavailable", "UNAVAILABLE"),
        504 => ("Gateway Timeout", "DEADLINE_EXCEEDED"),
        505 => ("HTTP Version Not Supported", "UNIMPLEMENTED"),
        _ => ("Internal Server Error", "INTERNAL"),
    }
}
