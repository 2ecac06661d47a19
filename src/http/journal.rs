//! Counts a front's requests, writes their lines of the access log, and traces them.
//!
//! It must not know sockets. A connection's thread runs it; when all is off, that is
//! a look at a few flags.

use std::net::IpAddr;
use std::time::Instant;

use super::head::Head;
use crate::trace::{self, Point, Span, Way};
use crate::{access_log, metrics};

/// The most of a path that a line shows.
const PATH_BYTES: usize = 256;

/// A request that is answered now; dropped when the last byte is written, or the client
/// has gone.
pub(super) struct Entry {
    service: &'static str,
    peer: IpAddr,
    since: Instant,
    status: u16,
    /// Request id, method and path for the access log.
    line: Option<(String, String, String)>,
    span: Span,
}

/// `None` when nothing is counted, logged or traced. Gives the request its id, if one is
/// wanted; one without a head was malformed.
pub(super) fn begin(
    service: &'static str,
    peer: IpAddr,
    mut head: Option<&mut Head>,
) -> Option<Entry> {
    let id = access_log::request_id(|| {
        let mut fields = head.as_ref()?.headers.iter();
        let field = fields.find(|(name, _)| is_id(name));
        field.map(|(_, id)| id.as_str())
    });
    if id.is_none() && !metrics::on() {
        return None;
    }
    let line = id.map(|id| match &mut head {
        None => (id, "-".into(), "-".into()),
        Some(head) => {
            head.headers.retain(|(name, _)| !is_id(name));
            head.headers.push((access_log::HEADER.into(), id.clone()));
            let path = head.asked().path.chars().take(PATH_BYTES).collect();
            (id, head.method.clone(), path)
        }
    });
    let mut span = Span::default();
    if let (true, Some((id, method, path))) = (trace::is_on(), &line) {
        span = trace::span(format!("{method} {path}"));
        span.request(Point::Start, Some(id));
    }
    Some(Entry {
        service,
        peer,
        since: Instant::now(),
        status: 500,
        line,
        span,
    })
}

impl Entry {
    /// The slice of a trace in which the answer is written. The message that the request
    /// has brought is on its way since the request came.
    pub(super) fn writing(&mut self, message: Option<u64>) -> Span {
        self.span.arrow(Point::Start, Way::Message, message);
        let mut span = trace::span("write");
        span.request(Point::End, self.line.as_ref().map(|(id, ..)| &**id));
        span
    }
}

fn is_id(name: &str) -> bool {
    name.eq_ignore_ascii_case(access_log::HEADER)
}

/// Notes the status in the head of an answer, and puts the request id into it.
pub(super) fn mark(entry: &mut Option<Entry>, head: &mut Vec<u8>) {
    let line_end = head.windows(2).position(|two| two == b"\r\n");
    let (Some(entry), Some(at)) = (entry, line_end) else {
        return;
    };
    let status = head.get(9..12).and_then(|it| str::from_utf8(it).ok());
    entry.status = status.and_then(|it| it.parse().ok()).unwrap_or(500);
    if let Some((id, ..)) = &entry.line {
        let field = format!("X-Request-Id: {id}\r\n");
        head.splice(at + 2..at + 2, field.into_bytes());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (service, peer, status) = (self.service, self.peer, self.status);
        let took = self.since.elapsed();
        count(service, status);
        metrics::observe(&metrics::ANSWERING, &[service], took.as_secs_f64());
        if let Some((id, method, path)) = self.line.take()
            && access_log::has_lines()
        {
            tracing::info!(service, %peer, method, path, status, ?took, id, "request");
        }
    }
}

/// Counts a request, or a connection that was refused before it had one.
pub(super) fn count(service: &str, status: u16) {
    if metrics::on() {
        metrics::add(&metrics::REQUESTS, &[service, &status.to_string()], 1);
    }
}
