//! "web-pulse": notices a server that hangs, or whose machine has gone. Neither
//! ends a stream, and keepalive pings cannot be frequent enough, since grpcio
//! servers close connections that ping more often than every 5 minutes. So it makes
//! a health call at intervals.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Link;
use crate::error::Code;
use crate::grpc::client::Connection;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(5);

pub struct Pulse {
    pub connection: Connection,
    pub call_timeout: Duration,
    pub links: Vec<Arc<Link>>,
}

impl Pulse {
    /// Runs until `stop` is disconnected. Any answer, even an error, counts.
    pub fn run(&self, stop: &Receiver<()>) {
        while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let health = self.connection.check_health("", self.call_timeout);
            if health.is_err_and(|error| error.code == Code::DeadlineExceeded) {
                self.links.iter().for_each(|link| link.abort());
            }
        }
    }
}
