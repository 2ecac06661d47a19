//! What a comparison found, and the three ways to show it. JSON is this very
//! structure. `view` puts it into words, which `text` shows in the terminal and
//! `page` on one self-contained HTML page, with the plots of `plot`.

pub mod page;
mod plot;
pub mod text;
pub mod view;
mod words;

use serde::{Deserialize, Serialize};

/// The whole of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// RFC 3339, when the comparison began.
    pub date: String,
    pub machine: Machine,
    /// One table for servers, one for bridges; empty if it was not asked for.
    pub behaviour: Vec<BehaviourTable>,
    pub speed: Option<Speed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Program and version, in the order to show: messenger, Python, grpcio, ...
    pub versions: Vec<(String, String)>,
}

/// Named checks, a row each; a column for each combination of implementations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviourTable {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<CheckRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckRow {
    pub name: String,
    /// What is done and looked at, one sentence.
    pub title: String,
    /// What the contract promises.
    pub expected: String,
    /// The name of the row of the differences that explains other answers.
    pub difference: Option<String>,
    /// In the order of the columns.
    pub outcomes: Vec<Outcome>,
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    Pass,
    /// It answered otherwise than the contract says.
    Differs {
        expected: String,
        got: String,
    },
    /// Nothing came for so long.
    Hangs {
        seconds: u64,
    },
    /// Its process ended.
    Dies {
        how: String,
    },
    /// It could not be tried here.
    Skipped {
        why: String,
    },
}

/// Measurements of all peers, in one run, one peer after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Speed {
    /// The first one is what the others are compared with.
    pub peers: Vec<String>,
    pub repetitions: usize,
    /// How long each repetition measured.
    pub seconds: f64,
    pub text_bytes: usize,
    pub measurements: Vec<Measurement>,
    /// The part of the machine's CPU time that neither the peers nor the load
    /// used, the median and the greatest of all repetitions: 0 to 1.
    pub foreign_cpu: f64,
    pub foreign_cpu_max: f64,
    /// Set when the machine was too busy for the figures to be trusted.
    pub warning: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// For programs: `unary-16`, `fanout-100`.
    pub name: String,
    pub title: String,
    /// What is counted: "call", "delivery", "request".
    pub operation: String,
    /// In the order of the peers.
    pub results: Vec<PeerResult>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "result")]
pub enum PeerResult {
    Measured {
        metrics: Vec<Samples>,
    },
    /// It cannot do it: too many readers for its pool, for instance.
    Failed {
        why: String,
    },
    /// There is no such program of this peer.
    Absent,
}

impl PeerResult {
    /// Those of this metric, if there are any.
    pub fn samples(&self, metric: Metric) -> Option<&Samples> {
        let Self::Measured { metrics } = self else {
            return None;
        };
        let found = metrics.iter().find(|samples| samples.metric == metric);
        found.filter(|samples| !samples.values.is_empty())
    }
}

/// One figure, of each repetition.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    pub metric: Metric,
    /// In the metric's unit; never empty.
    pub values: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// Operations per second.
    Throughput,
    /// Median time of an operation, microseconds.
    P50,
    /// 99th percentile, microseconds.
    P99,
    /// Of the measured process alone, microseconds per operation.
    ServerCpu,
    /// Of the load generator, microseconds per operation.
    LoadCpu,
    /// Resident memory of the server that a reader adds, KiB.
    Memory,
    /// From the start of the process to the first answer, milliseconds.
    Start,
}

impl Metric {
    /// In the order to show.
    pub const ALL: [Self; 7] = [
        Self::Throughput,
        Self::P50,
        Self::P99,
        Self::ServerCpu,
        Self::LoadCpu,
        Self::Memory,
        Self::Start,
    ];

    /// With its unit; `operation` is the measurement's.
    pub fn title(self, operation: &str) -> String {
        match self {
            Self::Throughput => "throughput, 1/s".into(),
            Self::P50 => "p50, us".into(),
            Self::P99 => "p99, us".into(),
            Self::ServerCpu => format!("server CPU, us/{operation}"),
            Self::LoadCpu => format!("load CPU, us/{operation}"),
            Self::Memory => "memory per reader, KiB".into(),
            Self::Start => "start-up, ms".into(),
        }
    }

    /// Which way it is good. The load is the same for all, so neither way says
    /// anything about a peer.
    pub fn good(self) -> &'static str {
        match self {
            Self::Throughput => "more is better",
            Self::LoadCpu => "of the load, not of the peer",
            _ => "less is better",
        }
    }
}

impl Samples {
    /// The least, the median and the greatest.
    pub fn spread(&self) -> [f64; 3] {
        let each = || self.values.iter().copied();
        let least = each().fold(f64::INFINITY, f64::min);
        let greatest = each().fold(f64::NEG_INFINITY, f64::max);
        [least, median(&self.values), greatest]
    }
}

/// The middle one, or the mean of the middle two; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// One as a real run might give it, with a harmful string wherever one may come
/// from outside.
#[cfg(test)]
fn sample() -> Report {
    serde_json::from_str(include_str!("sample.json")).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_keeps_its_shape() {
        let written: serde_json::Value = serde_json::from_str(include_str!("sample.json")).unwrap();
        assert_eq!(serde_json::to_value(sample()).unwrap(), written);
    }
}
