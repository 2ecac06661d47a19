//! "web-pulse": notices a server that hangs, or whose machine is gone without a
//! word. Neither ends a stream, and a ping often enough to tell would be taken
//! for an attack by a Python server; a call now and then is not.

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
    /// Until `stop` is disconnected. Whatever the server answers, it answers.
    pub fn run(&self, stop: &Receiver<()>) {
        while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let health = self.connection.check_health("", self.call_timeout);
            if health.is_err_and(|error| error.code == Code::DeadlineExceeded) {
                self.links.iter().for_each(|link| link.abort());
            }
        }
    }
}
