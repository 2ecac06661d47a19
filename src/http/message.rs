//! A handler's types: a whole [`Request`] in, a whole [`Response`] out.
//!
//! Owns [`Request`] and [`Response`]. It must not know sockets, tiny_http or how
//! bytes are framed.
//! No thread of its own runs it.

use super::refusal::{JSON, error_body};
use super::stream::Source;
use crate::budget::Hold;

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
    /// hop-by-hop fields are gone, and so are fields whose value is not ASCII; an
    /// idempotency key of this kind is there, but empty.
    pub headers: Vec<(String, String)>,
    /// Decoded: chunked framing is gone.
    pub body: Vec<u8>,
    /// Whether it has waited before its lane for something that was there then, and may be
    /// answered with [`Response::wait_again`].
    pub waited: bool,
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
    /// For a trace: the id of a message that the request has brought
    /// ([`Way::Message`](crate::trace::Way::Message)).
    pub message: Option<u64>,
    /// Instead of all this: see [`Response::wait_again`].
    pub wait_again: bool,
}

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
        let response = Response::json(status, error_body(code, message.as_ref()));
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

    /// No answer: what a request has `waited` for is gone by now, so it goes on waiting.
    pub fn wait_again() -> Response {
        Response {
            wait_again: true,
            ..Response::error(500, "INTERNAL", "the request has not waited")
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
