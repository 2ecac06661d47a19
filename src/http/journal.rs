//! Counts a front's requests, and writes their lines of the access log.
//!
//! It must not know sockets. A connection's thread runs it; it costs a look when both
//! are off.

use std::net::IpAddr;
use std::time::Instant;

use super::head::Head;
use crate::access_log;
use crate::budget::Budget;
use crate::metrics::{self, Histogram, IntCounterVec};

/// The most of a path that a line shows.
const PATH_BYTES: usize = 256;

/// What a front counts, under the name of its service.
pub(super) struct Journal {
    service: &'static str,
    requests: Option<IntCounterVec>,
    seconds: Option<Histogram>,
}

/// A request that is answered now.
pub(super) struct Entry<'a> {
    journal: &'a Journal,
    since: Instant,
    /// The request id, and the rest of the line.
    line: Option<(String, Line)>,
}

struct Line {
    peer: IpAddr,
    method: String,
    path: String,
}

impl Journal {
    pub(super) fn new(service: &'static str, memory: &Budget) -> Journal {
        let labels = &[("service", service)];
        metrics::memory(service, memory);
        let requests = metrics::counters(
            "http_requests_total",
            "HTTP requests that were answered, by status; also connections that were refused.",
            labels,
            &["status"],
        );
        let seconds = metrics::histogram(
            "http_request_duration_seconds",
            "Time from a whole request to the end of its answer, or of its stream.",
            labels,
            metrics::SECONDS,
        );
        Journal {
            service,
            requests,
            seconds,
        }
    }

    /// Gives the request its id, if there is an access log. `None` of the head: it was
    /// malformed. `None` when nothing is counted or logged.
    pub(super) fn begin(&self, peer: IpAddr, head: Option<&mut Head>) -> Option<Entry<'_>> {
        let id = access_log::request_id(|| head.as_ref()?.field(access_log::HEADER));
        if id.is_none() && self.requests.is_none() {
            return None;
        }
        let line = id.map(|id| {
            let of = |head: &mut Head| {
                head.identify(&id);
                let path = head.target.split('?').next().unwrap_or_default();
                let path = path.chars().take(PATH_BYTES).collect();
                (head.method.clone(), path)
            };
            let (method, path) = head.map_or_else(|| ("-".into(), "-".into()), of);
            (id, Line { peer, method, path })
        });
        Some(Entry {
            journal: self,
            since: Instant::now(),
            line,
        })
    }

    pub(super) fn count(&self, status: u16) {
        if let Some(requests) = &self.requests {
            requests.with_label_values(&[&*status.to_string()]).inc();
        }
    }
}

impl Entry<'_> {
    /// Puts the id behind the status line of an answer's head.
    pub(super) fn mark(&self, head: &mut Vec<u8>) {
        let line_end = head.windows(2).position(|two| two == b"\r\n");
        if let (Some((id, _)), Some(at)) = (&self.line, line_end) {
            let field = format!("X-Request-Id: {id}\r\n");
            head.splice(at + 2..at + 2, field.into_bytes());
        }
    }

    /// The answer's last byte was written, or the client has gone.
    pub(super) fn over(self, status: u16) {
        let took = self.since.elapsed();
        self.journal.count(status);
        if let Some(seconds) = &self.journal.seconds {
            seconds.observe(took.as_secs_f64());
        }
        if let Some((id, Line { peer, method, path })) = self.line {
            let service = self.journal.service;
            tracing::info!(service, %peer, method, path, status, ?took, id, "request");
        }
    }
}
