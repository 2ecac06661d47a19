//! The bounds of the front, in one place.
//!
//! Owns numbers only. It must not know how a bound is enforced. No thread runs it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::gate::Gate;
use crate::budget::Budget;
use crate::readiness::Readiness;
use crate::reload::Live;
use crate::tls;

/// Every bound of the [`Front`](super::Front). The defaults suit a service
/// that takes small JSON bodies.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Request line and header fields together, in bytes. Over: 431 or 414.
    pub header_bytes: usize,
    /// Number of header fields of a request. Over: 431.
    pub header_fields: usize,
    /// Decoded request body, in bytes. Over: 413, before it is read.
    pub body_bytes: usize,
    /// From the first byte of a request until it is complete. Over: 408. Also from
    /// a connection's begin to its first byte. Over: a silent close.
    pub request_time: Duration,
    /// Silence between two requests on a kept-alive connection. Over: a silent close.
    pub idle_time: Duration,
    /// Names besides localhost under which a loopback address may be asked. Another
    /// one: 421.
    pub hosts: Vec<String>,
    /// Open connections. Over: the one that is idle longest is closed, else one whose
    /// request comes slowly. If there is none, 503 with `Retry-After`, without a
    /// new thread.
    pub connections: usize,
    /// Bodies that come in and answers that are not taken yet, over all
    /// connections; handlers take from it for what they attach to answers. Over:
    /// 503 with `Retry-After`, and a stream is cut.
    pub memory: Budget,
    /// Open streams, which count among the connections too. Over: 503 with
    /// `Retry-After`.
    pub streams: usize,
    /// Wait for a free lane. Over: 503.
    pub lane_wait: Duration,
    /// From passing a request to a lane until its answer is there. Over: 504.
    /// The handler is not interrupted: its lane is free again when it returns.
    pub answer_time: Duration,
    /// In each such time, the client of an answer or of a stream's chunk has to
    /// take 16 KiB for each second of it, or the rest. If not, the connection is
    /// reset and the answer counts as undelivered.
    pub write_time: Duration,
    /// After an error answer: bytes that are read and thrown away, so that a
    /// client that is still sending gets to read the answer.
    pub drain_bytes: usize,
    /// Longest time of that draining.
    pub drain_time: Duration,
    /// Who may ask, and how often. Without one: all, as often as they like.
    pub gate: Option<Arc<dyn Gate>>,
    /// What /readyz tells.
    pub ready: Readiness,
    /// With it, requests that wait for a lane are on this list, in order of arrival.
    pub waiting: Option<Arc<Mutex<Vec<String>>>>,
    /// With it, all clients have to speak TLS; each handshake takes what is there then.
    pub tls: Option<Arc<Live<tls::Server>>>,
}

impl Limits {
    /// How the URLs of such a front begin.
    pub fn scheme(&self) -> &'static str {
        self.tls.as_ref().map_or("http", |_| "https")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 16 * 1024,
            header_fields: 64,
            body_bytes: 512 * 1024,
            request_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            connections: 1024,
            hosts: Vec::new(),
            memory: Budget::default(),
            streams: 256,
            lane_wait: Duration::from_secs(30),
            answer_time: Duration::from_secs(60),
            write_time: Duration::from_secs(10),
            drain_bytes: 2 * 1024 * 1024,
            drain_time: Duration::from_secs(2),
            gate: None,
            ready: Readiness::default(),
            waiting: None,
            tls: None,
        }
    }
}
