//! What a comparison found, and the three ways to show it: JSON is this very
//! structure, `text` is for the terminal, `page` is one self-contained HTML file.

mod answer;
mod grid;
mod inline;
mod number;
pub mod page;
mod plot;
#[cfg(test)]
pub(crate) mod sample;
mod shown;
pub mod text;

use serde::Serialize;

/// The whole of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// RFC 3339, when the comparison began.
    pub date: String,
    pub machine: Machine,
    /// One table for servers, one for bridges; empty if it was not asked for.
    pub behaviour: Vec<BehaviourTable>,
    pub speed: Option<Speed>,
}

#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BehaviourTable {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<CheckRow>,
}

#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
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

#[derive(Clone, Debug, Serialize)]
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

#[derive(Clone, Debug, Serialize)]
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

/// One figure, of each repetition.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    pub metric: Metric,
    /// In the metric's unit; never empty.
    pub values: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    pub fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::ServerCpu => "server CPU",
            Self::LoadCpu => "load CPU",
            Self::Memory => "memory per reader",
            Self::Start => "start-up",
        }
    }

    /// `operation` is the measurement's.
    pub fn unit(self, operation: &str) -> String {
        match self {
            Self::Throughput => "1/s".into(),
            Self::P50 | Self::P99 => "us".into(),
            Self::ServerCpu | Self::LoadCpu => format!("us/{operation}"),
            Self::Memory => "KiB".into(),
            Self::Start => "ms".into(),
        }
    }

    pub fn more_is_better(self) -> bool {
        self == Self::Throughput
    }
}

impl Samples {
    pub fn median(&self) -> f64 {
        median(&self.values)
    }

    /// The least and the greatest.
    pub fn range(&self) -> (f64, f64) {
        let each = self.values.iter().copied();
        (
            each.clone().fold(f64::INFINITY, f64::min),
            each.fold(f64::NEG_INFINITY, f64::max),
        )
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
