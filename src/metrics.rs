//! What a process counts, for Prometheus: the registry and its text.
//!
//! Off until [`turn_on`] is called, which is before any service starts: each metric
//! is an `Option` then, looked up once by whoever counts, and `None` costs a branch.
//! Names of labels and their values are written in the code, never by a client, so
//! that the number of series is bounded. Any thread.

use std::sync::OnceLock;
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder as _, HistogramOpts, IntGauge, IntGaugeVec, Opts, Registry, Result, TextEncoder,
};
pub use prometheus::{Histogram, IntCounter, IntCounterVec};

use crate::budget::Budget;

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Buckets for durations: a call here takes tens of microseconds, a lost one seconds.
pub const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Labels whose values are fixed.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Counts from now on, beginning with `process_*`.
pub fn turn_on() {
    let registry = REGISTRY.get_or_init(Registry::new);
    let process = prometheus::process_collector::ProcessCollector::for_self();
    // Registered already: it was on.
    let _ = registry.register(Box::new(process));
}

/// All metrics in Prometheus' text format.
pub fn text() -> Vec<u8> {
    let mut text = Vec::new();
    if let Some(registry) = REGISTRY.get()
        && let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text)
    {
        tracing::error!(%error, "metrics cannot be written");
    }
    text
}

/// A counter for each value of the labels `by`, which are few.
pub fn counters(name: &str, help: &str, fixed: Labels<'_>, by: &[&str]) -> Option<IntCounterVec> {
    register(|| IntCounterVec::new(opts(name, help, fixed), by))
}

/// A histogram with these buckets.
pub fn histogram(name: &str, help: &str, fixed: Labels<'_>, buckets: &[f64]) -> Option<Histogram> {
    let opts = HistogramOpts::from(opts(name, help, fixed)).buckets(buckets.to_vec());
    register(|| Histogram::with_opts(opts))
}

/// What is held of a budget, and its limit.
pub fn memory(service: &str, budget: &Budget) {
    let (held, limit, labels) = (budget.clone(), budget.limit(), &[("service", service)]);
    let help = "Bytes held for requests that come in and answers that are not taken yet.";
    gauge("messenger_memory_held_bytes", help, labels, move || {
        held.held()
    });
    let help = "The limit of messenger_memory_held_bytes.";
    gauge("messenger_memory_limit_bytes", help, labels, move || limit);
}

/// How long commits to this store take.
pub fn commits(store: &str) -> Option<Histogram> {
    let help = "Time to commit a transaction, failed ones too.";
    histogram(
        "messenger_commit_seconds",
        help,
        &[("store", store)],
        SECONDS,
    )
}

/// Runs `work`, and counts how long it takes.
pub fn timed<R>(histogram: Option<&Histogram>, work: impl FnOnce() -> R) -> R {
    let Some(histogram) = histogram else {
        return work();
    };
    let since = Instant::now();
    let result = work();
    histogram.observe(since.elapsed().as_secs_f64());
    result
}

/// A value that may fall: asked for at each scrape, on the thread that answers it.
pub fn gauge(
    name: &str,
    help: &str,
    fixed: Labels<'_>,
    ask: impl Fn() -> usize + Send + Sync + 'static,
) {
    let set = move |gauge: &IntGauge| gauge.set(i64::try_from(ask()).unwrap_or(i64::MAX));
    register_asked(|| IntGauge::with_opts(opts(name, help, fixed)), set);
}

/// As [`gauge`], for a count that somebody keeps anyway and that never falls.
pub fn counter(
    name: &str,
    help: &str,
    fixed: Labels<'_>,
    ask: impl Fn() -> u64 + Send + Sync + 'static,
) {
    let raise = move |counter: &IntCounter| counter.inc_by(ask().saturating_sub(counter.get()));
    register_asked(|| IntCounter::with_opts(opts(name, help, fixed)), raise);
}

/// As [`gauge`], one for each value of the label `by`; none while there is no answer.
pub fn gauges<const N: usize>(
    name: &str,
    help: &str,
    by: &str,
    ask: impl Fn() -> Option<[(&'static str, u64); N]> + Send + Sync + 'static,
) {
    let set = move |gauges: &IntGaugeVec| {
        gauges.reset();
        for (value, number) in ask().into_iter().flatten() {
            let gauge = gauges.with_label_values(&[value]);
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    };
    register_asked(|| IntGaugeVec::new(opts(name, help, &[]), &[by]), set);
}

/// A metric that is brought up to date when it is collected.
struct Asked<M, F> {
    metric: M,
    update: F,
}

impl<M: Collector, F: Fn(&M) + Send + Sync> Collector for Asked<M, F> {
    fn desc(&self) -> Vec<&Desc> {
        self.metric.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.update)(&self.metric);
        self.metric.collect()
    }
}

fn register_asked<M: Collector + 'static>(
    make: impl FnOnce() -> Result<M>,
    update: impl Fn(&M) + Send + Sync + 'static,
) {
    add(|registry| {
        let metric = make()?;
        registry.register(Box::new(Asked { metric, update }))
    });
}

fn register<M: Collector + Clone + 'static>(make: impl FnOnce() -> Result<M>) -> Option<M> {
    add(|registry| {
        let metric = make()?;
        registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    })
}

/// `None` when metrics are off. A mistake in a name is told, and costs that metric.
fn add<T>(add: impl FnOnce(&Registry) -> Result<T>) -> Option<T> {
    let added = add(REGISTRY.get()?);
    let told = added.inspect_err(|error| tracing::error!(%error, "a metric is missing"));
    told.ok()
}

fn opts(name: &str, help: &str, fixed: Labels<'_>) -> Opts {
    let opts = Opts::new(name, help);
    fixed.iter().fold(opts, |opts, (label, value)| {
        opts.const_label(*label, *value)
    })
}
