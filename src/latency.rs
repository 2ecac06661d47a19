//! Latency histograms: mean and quantiles.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies with three significant digits, up to an hour.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

const HOUR_NANOS: u64 = 3_600_000_000_000;

impl Latencies {
    /// # Errors
    /// Never with these constants.
    pub fn new() -> io::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, HOUR_NANOS, 3);
        histogram.map(Self).map_err(io::Error::other)
    }

    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(HOUR_NANOS);
        self.0.saturating_record(nanos);
    }

    /// Adds the latencies of another client.
    ///
    /// # Errors
    /// Never, as both have the same bounds.
    pub fn add(&mut self, other: &Self) -> io::Result<()> {
        self.0.add(&other.0).map_err(io::Error::other)
    }

    /// Mean in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.0.mean() / 1e3
    }

    /// Quantile in microseconds; `part` is 0 to 1, 0.5 is the median.
    pub fn quantile_us(&self, part: f64) -> f64 {
        self.0.value_at_quantile(part) as f64 / 1e3
    }
}
