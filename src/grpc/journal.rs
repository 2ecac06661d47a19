//! Log lines about streams and calls: peer, method, duration and status.
//!
//! Also where calls are counted, and told to the access log: a `Call` is there from
//! the beginning of each call and stream to its end, if anybody wants that.
//!
//! Streams are logged at info, at most `LINES` lines a second; the rest is
//! counted, and the thread "stream-log" logs the counts. Calls are logged at
//! debug, one by one. When a level is off, nothing is looked up or formatted.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use grpcio::RpcContext;
use tracing::Level;
use tracing::field::{DebugValue, debug};

use super::STACK_BYTES;
use crate::access_log;
use crate::error::{Code, Error};
use crate::fanout::broadcast::Broadcast;
use crate::metrics::{self, Histogram, IntCounter};
use crate::retry::supervised;
use crate::status;
use crate::throttle::{Admission, Throttle};

/// Most lines about streams in a second.
const LINES: u32 = 20;

/// What happens to a stream; each kind is counted by itself.
#[derive(Clone, Copy)]
enum Event {
    Opened,
    Ended,
    Refused,
    /// Ended as a slow consumer.
    Cut,
}

/// The log of all streams of a process.
pub(super) struct Journal {
    throttle: Throttle<4>,
    /// Tells the thread when to log the counts.
    due: Sender<Instant>,
}

impl Journal {
    /// Starts the thread "stream-log", which ends with the journal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        // One place: only the first line that is counted in a second asks.
        let (due, waiting) = bounded::<Instant>(1);
        let journal = Arc::new(Self {
            throttle: Throttle::new(LINES),
            due,
        });
        let weak = Arc::downgrade(&journal);
        let thread = thread::Builder::new().name("stream-log".into());
        let mut work = move || {
            for due in &waiting {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if let Some(journal) = weak.upgrade() {
                    journal.log_withheld();
                }
            }
        };
        let thread = thread.stack_size(STACK_BYTES);
        thread.spawn(move || supervised(&mut work))?;
        Ok(journal)
    }

    /// Log entry for a stream of this name; `None` if streams are neither logged
    /// nor counted.
    pub(super) fn stream_log(
        self: &Arc<Self>,
        stream: &str,
        call: Option<Call>,
    ) -> Option<Arc<StreamLog>> {
        let (journal, stream) = (self.clone(), stream.into());
        call.map(|call| {
            Arc::new(StreamLog {
                journal,
                stream,
                call,
            })
        })
    }

    /// Whether the event may be written; otherwise it is counted.
    fn admits(&self, event: Event) -> bool {
        match self.throttle.admit(event as usize, Instant::now()) {
            Admission::Write => true,
            Admission::Count(due) => {
                if let Some(due) = due {
                    // Full: the thread is about to log them.
                    let _ = self.due.try_send(due);
                }
                false
            }
        }
    }

    /// Logs how many streams had no line of their own.
    pub(super) fn log_withheld(&self) {
        let what = "more streams within a second";
        match self.throttle.take_withheld() {
            None => {}
            Some([opened, ended, refused, 0]) => {
                tracing::info!(opened, ended, refused, "{what}");
            }
            Some([opened, ended, refused, cut]) => {
                tracing::warn!(opened, ended, refused, cut, "{what}");
            }
        }
    }
}

/// One stream as the log shows it: name, method, peer and duration.
pub struct StreamLog {
    journal: Arc<Journal>,
    stream: String,
    call: Call,
}

impl StreamLog {
    /// The stream's name, which is its thread's too.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Address and port of the client, or of the proxy in front of it.
    pub fn peer(&self) -> &str {
        &self.call.peer
    }

    pub(super) fn opened(&self) {
        if tracing::enabled!(Level::INFO) && self.journal.admits(Event::Opened) {
            let Call { method, peer, .. } = &self.call;
            tracing::info!(stream = self.stream, method, peer, "stream opened");
        }
    }

    /// So many messages more were handed to the transport.
    pub(super) fn sent(&self, messages: u64) {
        if let Some(meter) = &self.call.meter {
            meter.sent.inc_by(messages);
        }
    }

    pub(super) fn refused(&self, error: &Error) {
        self.call.answered(Some(error), Some(0));
        if tracing::enabled!(Level::INFO) && self.journal.admits(Event::Refused) {
            let Call { method, peer, .. } = &self.call;
            let (status, error) = outcome(Some(error));
            tracing::info!(method, peer, status, error, "stream refused");
        }
    }

    /// `messages` is how many the transport has taken.
    pub(super) fn ended(&self, end: &Result<(), Error>, messages: u64) {
        self.call.answered(end.as_ref().err(), Some(messages));
        if !tracing::enabled!(Level::INFO) || !self.journal.admits(Event::Ended) {
            return;
        }
        let (stream, Call { method, peer, .. }) = (&self.stream, &self.call);
        let (status, error) = outcome(end.as_ref().err());
        let took = self.call.since.elapsed();
        tracing::info!(
            stream,
            method,
            peer,
            status,
            error,
            messages,
            ?took,
            "stream ended"
        );
    }

    /// As [`StreamLog::ended`], for one whose backlog was full.
    pub(super) fn cut(&self, messages: u64) {
        let cut = Error::new(Code::ResourceExhausted, "slow consumer");
        self.call.answered(Some(&cut), Some(messages));
        let (stream, Call { method, peer, .. }) = (&self.stream, &self.call);
        let took = self.call.since.elapsed();
        if self.journal.admits(Event::Cut) {
            let what = "slow consumer cut: its backlog was full";
            tracing::warn!(stream, method, peer, messages, ?took, "{what}");
        }
    }
}

/// One call or stream for the counters, the access log and, if it is unary, the log
/// at debug. One that is dropped before its end counts as cancelled.
pub(super) struct Call {
    method: &'static str,
    meter: Option<Arc<Meter>>,
    /// Empty when nothing is logged.
    peer: String,
    request_id: Option<String>,
    since: Instant,
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
    sent: IntCounter,
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
fn outcome(error: Option<&Error>) -> (&'static str, Option<DebugValue<&str>>) {
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
