//! "web-pulse": notices a server that hangs, or whose machine has gone. Neither
//! ends a stream, and keepalive pings cannot be frequent enough, since grpcio
//! servers close connections that ping more often than every 5 minutes. So it makes
//! a health call at intervals.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Link;
use crate::console::CALL_TIMEOUT;
use crate::console::event::Service;
use crate::console::hub::Hub;
use crate::error::Code;
use crate::grpc::client::Connection;

/// How often the server is asked.
const INTERVAL: Duration = Duration::from_secs(5);

/// Runs until `stop` is disconnected. Any answer, even an error, proves that the
/// streams are alive: they have the same connection, and would have ended.
pub fn run(
    connection: &Connection,
    links: &[(Service, Arc<Link>)],
    hub: &Hub,
    stop: &Receiver<()>,
) {
    while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let health = connection.check_health("", CALL_TIMEOUT);
        let code = health.err().map(|error| error.code);
        for (service, link) in links {
            match code {
                Some(Code::DeadlineExceeded) => link.abort(),
                Some(Code::Unavailable) => {}
                _ if link.with(|stop| stop.live) => hub.prove(*service),
                _ => {}
            }
        }
    }
}
