//! What a gRPC server is set up with.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Admission;
use crate::budget::Budget;
use crate::readiness::Readiness;
use crate::reload::Live;
use crate::tls;

/// The port of the chat server, which the Python programs use too.
pub const PORT: u16 = 51075;

/// Settings of the transport.
#[derive(Clone, Debug)]
pub struct Config {
    pub host: String,
    /// 0 is any free port.
    pub ports: Vec<u16>,
    /// Completion-queue threads, the counterpart of a ThreadPoolExecutor's
    /// workers; handlers never block them.
    pub threads: u16,
    /// The largest message that is received, in bytes.
    pub receive_bytes: usize,
    /// The largest total of a call's metadata, in bytes.
    pub metadata_bytes: usize,
    /// What is held for peers: a half for the C core's buffers, a quarter for answers
    /// that are not taken yet, a quarter for the services' backlogs.
    pub memory: Budget,
    /// Server streams in the whole process.
    pub streams: usize,
    /// A stream that is older ends with UNAVAILABLE; a tenth more or less for each.
    pub stream_age: Option<Duration>,
    /// Keepalive interval: a peer that is silent for so long is pinged.
    pub keepalive: Duration,
    /// Keepalive timeout: without an answer to the ping, the connection is closed.
    pub keepalive_timeout: Duration,
    /// What the metrics port's /readyz tells.
    pub ready: Readiness,
    /// Who may call, and how often.
    pub admission: Admission,
    /// Plain text without it.
    pub tls: Option<Arc<Live<tls::Server>>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".into(),
            ports: vec![PORT],
            threads: 2,
            receive_bytes: 512 * 1024,
            metadata_bytes: 16 * 1024,
            memory: Budget::default(),
            streams: 10_000,
            stream_age: None,
            keepalive: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(3),
            ready: Readiness::default(),
            admission: Admission::default(),
            tls: None,
        }
    }
}
