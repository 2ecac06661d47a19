//! A measurement as a table: a row for each metric, a cell for each peer.

use super::number::{self, Ratio};
use super::{Measurement, Metric, PeerResult, Samples, Speed};

pub enum Cell {
    Figure {
        median: String,
        /// `min to max`
        range: Option<String>,
        /// None of the first peer, and where nothing can be divided.
        ratio: Option<Ratio>,
    },
    Fails,
    /// No such program, or this metric cannot be had of it.
    Absent,
}

/// The peers with their results, also where a result is missing.
pub fn results<'a>(
    speed: &'a Speed,
    measurement: &'a Measurement,
) -> impl Iterator<Item = (&'a str, &'a PeerResult)> {
    let missing = std::iter::repeat(&PeerResult::Absent);
    let results = measurement.results.iter().chain(missing);
    speed.peers.iter().map(String::as_str).zip(results)
}

/// The samples of a metric, if the peer has any.
pub fn samples(result: &PeerResult, metric: Metric) -> Option<&Samples> {
    let PeerResult::Measured { metrics } = result else {
        return None;
    };
    let found = metrics.iter().find(|samples| samples.metric == metric);
    found.filter(|samples| !samples.values.is_empty())
}

/// The metrics that any peer has, in the order in which they first occur.
pub fn metrics(measurement: &Measurement) -> Vec<Metric> {
    let mut found = Vec::new();
    for result in &measurement.results {
        if let PeerResult::Measured { metrics } = result {
            for samples in metrics {
                if !found.contains(&samples.metric) {
                    found.push(samples.metric);
                }
            }
        }
    }
    found
}

/// A metric's cells, in the order of the peers.
pub fn row(speed: &Speed, measurement: &Measurement, metric: Metric) -> Vec<Cell> {
    let first = measurement.results.first();
    let first = first.and_then(|result| samples(result, metric));
    let cell = |(i, (_, result)): (usize, (&str, &PeerResult))| match samples(result, metric) {
        Some(own) => Cell::Figure {
            median: number::number(own.median()),
            range: number::range(own),
            ratio: first
                .filter(|_| i > 0)
                .and_then(|first| number::ratio(metric, first, own)),
        },
        None if matches!(result, PeerResult::Failed { .. }) => Cell::Fails,
        None => Cell::Absent,
    };
    results(speed, measurement).enumerate().map(cell).collect()
}

/// The peers that could not do it, and why.
pub fn failures<'a>(speed: &'a Speed, measurement: &'a Measurement) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    for (peer, result) in results(speed, measurement) {
        if let PeerResult::Failed { why } = result {
            found.push((peer, why.as_str()));
        }
    }
    found
}

/// The one word for a failure where there is no room for its reason.
pub fn failure_word(why: &str) -> &'static str {
    if why.to_lowercase().contains("hang") {
        "hangs"
    } else {
        "fails"
    }
}

/// How the figures came about, and what else the machine did.
pub fn method(speed: &Speed) -> String {
    let repetitions = match speed.repetitions {
        1 => "One repetition".to_owned(),
        n => format!("Median (min to max) of {n} repetitions"),
    };
    format!(
        "{repetitions} of {} s each, texts of {} bytes. \
         Other programs on this machine used {} of its CPU time (median; at most {}).",
        number::short(speed.seconds),
        number::whole(speed.text_bytes as u64),
        number::percent(speed.foreign_cpu),
        number::percent(speed.foreign_cpu_max),
    )
}

/// What a `Cell::Absent` is shown as, and what that means.
pub const ABSENT: &str = "-";
pub const ABSENT_MEANS: &str = "-: there is no such program, or it does not tell this figure.";

/// The readers of `fanout-100`: 100.
pub fn readers(measurement: &Measurement) -> Option<u64> {
    let count = measurement.name.strip_prefix("fanout-")?.parse();
    count.ok().filter(|&readers| readers > 0)
}
