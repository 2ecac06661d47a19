//! What is counted of calls and streams, and told to the access log: a `Call` is there
//! from the beginning of each to its end, if anybody wants that. Unary calls are logged
//! at debug, one by one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use grpcio::RpcContext;
use tracing::field::{DebugValue, debug};

use crate::access_log;
use crate::error::Error;
use crate::fanout::broadcast::Broadcast;
use crate::metrics::{self, Histogram, IntCounter};
use crate::status;

/// One call or stream for the counters, the access log and, if it is unary, the log
/// at debug. One that is dropped before its end counts as cancelled.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) meter: Option<Arc<Meter>>,
    /// Empty when nothing is logged.
    pub(super) peer: String,
    request_id: Option<String>,
    pub(super) since: Instant,
    over: AtomicBool,
}

impl Call {
    /// `None` if it is neither counted nor `logged`, here or in the access log.
    pub(super) fn begin(
        ctx: &RpcContext<'_>,
        method: &'static str,
        meter: Option<&Arc<Meter>>,
        logged: bool,
    ) -> Option<Self> {
        let request_id = access_log::request_id(|| {
            let mut headers = ctx.request_headers().iter();
            let (_, id) = headers.find(|(key, _)| *key == access_log::HEADER)?;
            std::str::from_utf8(id).ok()
        });
        let request_id = request_id.filter(|_| access_log::has_lines());
        let logged = logged || request_id.is_some();
        if let Some(meter) = meter {
            meter.started.inc();
        } else if !logged {
            return None;
        }
        Some(Self {
            method,
            meter: meter.cloned(),
            peer: match logged {
                true => address(&ctx.peer()),
                false => String::new(),
            },
            request_id,
            since: Instant::now(),
            over: AtomicBool::new(false),
        })
    }

    /// To be called when the answer is there, before it is sent, or at a stream's end;
    /// only the first time counts.
    pub(super) fn answered(&self, error: Option<&Error>, messages: Option<u64>) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let Self { method, peer, .. } = self;
        let took = self.since.elapsed();
        let (status, text) = outcome(error);
        if let Some(meter) = &self.meter {
            meter.handled(status, took.as_secs_f64());
        }
        match &self.request_id {
            Some(id) => tracing::info!(method, peer, status, messages, ?took, id, "call"),
            None if messages.is_some() => {}
            None => tracing::debug!(method, peer, status, error = text, ?took, "call"),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.answered(Some(&Error::client_left()), None);
    }
}

/// What is counted of one method, under the names that go-grpc-prometheus uses.
pub(super) struct Meter {
    labels: [&'static str; 3],
    started: IntCounter,
    seconds: Histogram,
    /// Messages of a stream.
    pub(super) sent: IntCounter,
}

impl Meter {
    /// `None` when metrics are off. `method` is "/package.Service/Method".
    pub(super) fn of(method: &'static str, kind: &'static str) -> Option<Arc<Self>> {
        let (service, name) = method.trim_start_matches('/').split_once('/')?;
        let labels = [kind, service, name];
        metrics::on().then(|| {
            // There at once, so that a rate is right from the first one on.
            metrics::HANDLED.with_label_values(&[kind, service, name, "OK"]);
            Arc::new(Self {
                labels,
                started: metrics::STARTED.with_label_values(&labels),
                seconds: metrics::HANDLING.with_label_values(&labels),
                sent: metrics::DELIVERIES.with_label_values(&[service]),
            })
        })
    }

    fn handled(&self, status: &str, seconds: f64) {
        let [kind, service, name] = self.labels;
        metrics::add(&metrics::HANDLED, &[kind, service, name, status], 1);
        self.seconds.observe(seconds);
    }
}

/// Has a fan-out's own counts read at each scrape.
pub fn count_fanout<T: Clone + Send + 'static>(service: &'static str, fanout: &Broadcast<T>) {
    let fanout = fanout.clone();
    metrics::at_scrape(move || {
        let labels = &[service];
        metrics::raise(&metrics::ACCEPTED, labels, fanout.published());
        metrics::raise(&metrics::SLOW, labels, fanout.slow_consumers());
        metrics::set(&metrics::BACKLOG, labels, fanout.backlog_bytes());
    });
}

/// Status and error message. The message may quote users' text, so it is
/// escaped; a success has no such field.
pub(super) fn outcome(error: Option<&Error>) -> (&'static str, Option<DebugValue<&str>>) {
    match error {
        None => ("OK", None),
        Some(error) => (status::name(error.code), Some(debug(&*error.message))),
    }
}

/// ADDRESS:PORT of the C core's URI, as everybody else writes it.
fn address(uri: &str) -> String {
    let address = uri.strip_prefix("ipv4:").or(uri.strip_prefix("ipv6:"));
    let plain = address
        .unwrap_or(uri)
        .replace("%5B", "[")
        .replace("%5D", "]");
    plain.replace("%25", "%")
}

/// The IP address of the C core's URI; 0.0.0.0 stands for peers without one.
pub(super) fn ip(uri: &str) -> IpAddr {
    let address = address(uri);
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let ip = host.trim_matches(['[', ']']).split('%').next();
    ip.and_then(|ip| ip.parse().ok())
        .unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

#[cfg(test)]
mod tests {
    use super::{address, ip};

    #[test]
    fn a_peer_is_written_as_everybody_writes_addresses() {
        assert_eq!(address("ipv4:127.0.0.1:4711"), "127.0.0.1:4711");
        assert_eq!(address("ipv6:%5B::1%5D:4711"), "[::1]:4711");
        assert_eq!(address("ipv6:%5Bfe80::1%25eth0%5D:1"), "[fe80::1%eth0]:1");
        assert_eq!(address("unix:/run/s"), "unix:/run/s");
        assert_eq!(ip("ipv4:127.0.0.1:4711").to_string(), "127.0.0.1");
        assert_eq!(ip("ipv6:%5Bfe80::1%25eth0%5D:1").to_string(), "fe80::1");
        assert_eq!(ip("unix:/run/s").to_string(), "0.0.0.0");
    }
}
