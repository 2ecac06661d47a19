//! The front's own refusals, with their fixed table of codes.
//!
//! It must not know sockets. No thread of its own runs it.

use std::borrow::Cow;
use std::time::Duration;

use crate::budget::Full;

pub(super) const RETRY_AFTER: &str = "Retry-After";

/// The content type of every JSON answer.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// The body of every error: `{"error":{"code":"UNAVAILABLE","message":"..."}}`.
pub(super) fn error_body(code: &str, message: &str) -> String {
    serde_json::json!({"error": {"code": code, "message": message}}).to_string()
}

/// Why a request is refused before any handler: a status and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub message: Cow<'static, str>,
    header: Option<(&'static str, String)>,
}

impl Refusal {
    /// One of the statuses below.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            status,
            message: message.into(),
            header: (status == 503).then(|| (RETRY_AFTER, "1".into())),
        }
    }

    /// 429, with the whole seconds until it is worth asking again.
    pub fn too_many(message: String, wait: Duration) -> Refusal {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Refusal::new(429, message).with_header(RETRY_AFTER, seconds.max(1).to_string())
    }

    #[must_use]
    pub fn with_header(self, name: &'static str, value: impl Into<String>) -> Refusal {
        let header = Some((name, value.into()));
        Refusal { header, ..self }
    }

    /// Malformed in a way that leaves the rest of the connection meaningless.
    pub(super) fn malformed(message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(400, message)
    }

    /// The whole answer on the wire. With `close`, it says so.
    pub(super) fn encode(&self, close: bool, with_body: bool) -> Vec<u8> {
        let (reason, code) = describe(self.status);
        let body = error_body(code, &self.message);
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\n{}{}\r\n",
            self.status,
            body.len(),
            match &self.header {
                Some((name, value)) => format!("{name}: {value}\r\n"),
                None => String::new(),
            },
            if close { "Connection: close\r\n" } else { "" },
        )
        .into_bytes();
        if with_body {
            bytes.extend_from_slice(body.as_bytes());
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
        303 => ("See Other", "UNAUTHENTICATED"),
        400 => ("Bad Request", "INVALID_ARGUMENT"),
        401 => ("Unauthorized", "UNAUTHENTICATED"),
        403 => ("Forbidden", "PERMISSION_DENIED"),
        408 => ("Request Timeout", "DEADLINE_EXCEEDED"),
        413 => ("Content Too Large", "RESOURCE_EXHAUSTED"),
        414 => ("URI Too Long", "RESOURCE_EXHAUSTED"),
        417 => ("Expectation Failed", "FAILED_PRECONDITION"),
        421 => ("Misdirected Request", "PERMISSION_DENIED"),
        429 => ("Too Many Requests", "RESOURCE_EXHAUSTED"),
        431 => ("Request Header Fields Too Large", "RESOURCE_EXHAUSTED"),
        499 => ("Client Closed Request", "CANCELLED"),
        501 => ("Not Implemented", "UNIMPLEMENTED"),
        502 => ("Bad Gateway", "INTERNAL"),
        503 => ("Service Unavailable", "UNAVAILABLE"),
        504 => ("Gateway Timeout", "DEADLINE_EXCEEDED"),
        505 => ("HTTP Version Not Supported", "UNIMPLEMENTED"),
        _ => ("Internal Server Error", "INTERNAL"),
    }
}
