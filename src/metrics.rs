//! What a process counts, for Prometheus: all metrics in one table, and their text.
//!
//! Off until [`turn_on`] is called, which is before any service starts; whoever counts
//! asks [`on`] first, or once. Values of labels stand in the code or are statuses, never
//! what a client has sent, so the number of series is bounded. Any thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use crate::budget::Budget;
use crate::sync::lock;

pub use prometheus::{Histogram, IntCounter, TEXT_FORMAT};

/// A call here takes tens of microseconds, a lost one seconds.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Each is registered when it is used for the first time.
macro_rules! table {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal $($buckets:ident)?;)*) => {$(
        #[doc = $help]
        pub static $id: LazyLock<$kind> = LazyLock::new(|| {
            let opts = Opts::new($name, $help);
            $(let opts = HistogramOpts::from(opts).buckets($buckets.to_vec());)?
            let made = $kind::new(opts, &[$($label),*]).expect("a name and labels");
            // Fails for two of the same name only, which a test would see.
            let _ = prometheus::register(Box::new(made.clone()));
            made
        });
    )*};
}

table! {
    STARTED: IntCounterVec "grpc_server_started_total" ["grpc_type", "grpc_service", "grpc_method"]
        "Calls and streams that began, also those that were refused.";
    HANDLED: IntCounterVec "grpc_server_handled_total" ["grpc_type", "grpc_service", "grpc_method", "grpc_code"]
        "Calls and streams that are over, by status.";
    HANDLING: HistogramVec "grpc_server_handling_seconds" ["grpc_type", "grpc_service", "grpc_method"]
        "Time to the answer of a call, or to the end of a stream." SECONDS;
    STREAMS: IntGaugeVec "messenger_streams" []
        "Open streams of the server.";
    ACCEPTED: IntCounterVec "messenger_messages_accepted_total" ["service"]
        "Messages or changes that were accepted and have their place in the order.";
    REPEATED: IntCounterVec "messenger_sends_repeated_total" ["service"]
        "Sends that the chat knew by their idempotency key, or that the bridge sent again.";
    DELIVERIES: IntCounterVec "messenger_deliveries_total" ["service"]
        "Messages that were handed to the transport, to all readers of a stream.";
    SLOW: IntCounterVec "messenger_slow_consumers_total" ["service"]
        "Readers that were cut because their backlog was full.";
    BACKLOG: IntGaugeVec "messenger_backlog_bytes" ["service"]
        "Bytes that wait for readers, a message once for each of them.";
    COMMIT: HistogramVec "messenger_commit_seconds" ["store"]
        "Time to commit a transaction, failed ones too." SECONDS;
    BATCH: HistogramVec "messenger_log_batch_messages" []
        "Messages in one transaction of the log; the sum is all that were stored." SIZES;
    POSTBOX: IntGaugeVec "messenger_postbox_messages" []
        "Messages that were received and not flushed yet.";
    WAITING: IntGaugeVec "messenger_bridge_waiting" []
        "Flushes that wait for messages.";
    GAPS: IntCounterVec "messenger_bridge_gaps_total" []
        "Subscriptions of the bridge before which messages may have been missed.";
    DROPPED: IntCounterVec "messenger_dropped_total" ["what"]
        "What was thrown away because its place was full.";
    HELD: IntGaugeVec "messenger_memory_held_bytes" ["service"]
        "Bytes held for requests that come in and answers that are not taken yet.";
    LIMIT: IntGaugeVec "messenger_memory_limit_bytes" ["service"]
        "The limit of messenger_memory_held_bytes.";
    REQUESTS: IntCounterVec "http_requests_total" ["service", "status"]
        "HTTP requests that were answered, and connections that were refused.";
    ANSWERING: HistogramVec "http_request_duration_seconds" ["service"]
        "Time from a whole request to the end of its answer, or of its stream." SECONDS;
    QUEUE: IntGaugeVec "messenger_jobs_queue_depth" ["queue"]
        "Tasks that no worker has, and those in the dead-letter queue.";
    ATTEMPTS: IntCounterVec "messenger_jobs_attempts_total" ["status"]
        "Times that the message server was asked about a task.";
    RETRYING: IntGaugeVec "messenger_jobs_retrying" ["status"]
        "Tasks that are tried again, by the status of the last try.";
    UNREADABLE: IntCounterVec "messenger_jobs_unreadable_total" []
        "Messages that the AMQP library cannot read, moved to the dead-letter queue.";
    JOBS: IntCounterVec "messenger_jobs_total" ["state"]
        "Jobs that are settled and stored.";
}

static ON: AtomicBool = AtomicBool::new(false);

/// Called before each scrape.
static ASKS: Mutex<Vec<Box<dyn Fn() + Send>>> = Mutex::new(Vec::new());

/// Counts from now on.
pub fn turn_on() {
    ON.store(true, Ordering::Relaxed);
    for what in ["messages", "log_lines"] {
        DROPPED.with_label_values(&[what]);
    }
}

/// Whether anything is to be counted.
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// All metrics, with `process_*`, in [`TEXT_FORMAT`].
pub fn text() -> Vec<u8> {
    lock(&ASKS).iter().for_each(|ask| ask());
    let mut text = Vec::new();
    let encoded = prometheus::TextEncoder::new().encode(&prometheus::gather(), &mut text);
    if let Err(error) = encoded {
        tracing::error!(%error, "metrics cannot be written");
    }
    text
}

/// Has this called before each scrape, on the thread "metrics", to set what nobody else
/// counts.
pub fn at_scrape(ask: impl Fn() + Send + 'static) {
    if on() {
        lock(&ASKS).push(Box::new(ask));
    }
}

/// Sets one gauge.
pub fn set(gauges: &IntGaugeVec, labels: &[&str], value: usize) {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    gauges.with_label_values(labels).set(value);
}

/// Raises a counter to what somebody counts anyway.
pub fn raise(counters: &IntCounterVec, labels: &[&str], to: u64) {
    let counter = counters.with_label_values(labels);
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// Counts one more, or so many.
pub fn add(counters: &IntCounterVec, labels: &[&str], more: u64) {
    if on() {
        counters.with_label_values(labels).inc_by(more);
    }
}

/// One more in a gauge, until this is dropped.
pub struct Held(Option<IntGauge>);

/// Counts one more in a gauge, until the answer is dropped.
pub fn hold(gauges: &IntGaugeVec, labels: &[&str]) -> Held {
    let gauge = on().then(|| gauges.with_label_values(labels));
    gauge.iter().for_each(IntGauge::inc);
    Held(gauge)
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.iter().for_each(IntGauge::dec);
    }
}

/// Counts a value.
pub fn observe(histograms: &HistogramVec, labels: &[&str], value: f64) {
    if on() {
        histograms.with_label_values(labels).observe(value);
    }
}

/// Runs a commit to this store, and counts how long it takes.
pub fn committing<R>(store: &str, commit: impl FnOnce() -> R) -> R {
    let _timer = on().then(|| COMMIT.with_label_values(&[store]).start_timer());
    commit()
}

/// What is held of a budget, and its limit.
pub fn memory(service: &'static str, budget: &Budget) {
    let budget = budget.clone();
    at_scrape(move || {
        set(&HELD, &[service], budget.held());
        set(&LIMIT, &[service], budget.limit());
    });
}
