//! The measurements by name, and how each is made once.

use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::compare::load::chat::{self, Load};
use crate::compare::load::figures::Figures;
use crate::compare::load::http;
use crate::compare::load::process::Program;
use crate::compare::peer::{Peer, Toolbox};
use crate::compare::report::Metric;
use crate::http::client::Client;
use crate::latency::Latencies;

/// Measurements that differ in their numbers: n, and m if there is another one.
struct Family {
    name: &'static str,
    /// The greatest numbers; 0 where there is none.
    most: [usize; 2],
    /// What is counted.
    operation: &'static str,
    title: &'static str,
}

#[rustfmt::skip]
const FAMILIES: [Family; 9] = [
    Family { name: "start-server", most: [0, 0], operation: "start",
        title: "Server: from its start to the first answer" },
    Family { name: "unary-{n}", most: [1000, 0], operation: "call",
        title: "SendMessage, {n} in flight on one connection" },
    Family { name: "fanout-{n}", most: [10_000, 0], operation: "delivery",
        title: "Fan-out to {n} readers, latency until the last one has it" },
    Family { name: "paced-{n}-{m}", most: [10_000, 100_000], operation: "delivery",
        title: "{m} messages/s to {n} readers, latency until the last one has it" },
    Family { name: "subscribe-{n}-{m}", most: [10_000, 1000], operation: "delivery",
        title: "Fan-out to {n} readers, {m} sends in flight; Rust by Subscribe, in batches" },
    Family { name: "start-bridge", most: [0, 0], operation: "start",
        title: "From the start of a bridge to its first answer, each bridge before its own server" },
    Family { name: "http-send-{n}", most: [1000, 0], operation: "request",
        title: "POST /sendMessage from {n} clients, each bridge before its own server" },
    Family { name: "http-send-{n}-at-rust", most: [1000, 0], operation: "request",
        title: "POST /sendMessage from {n} clients, each bridge before the Rust server" },
    Family { name: "http-flush-{n}", most: [100_000, 0], operation: "flush",
        title: "POST /getAndFlushMessages with {n} messages, each bridge before its own server" },
];

const DEFAULT: [&str; 18] = [
    "start-server",
    "unary-1",
    "unary-16",
    "fanout-1",
    "fanout-10",
    "fanout-30",
    "fanout-100",
    "fanout-1000",
    "paced-1-500",
    "paced-100-500",
    "subscribe-100-128",
    "subscribe-1000-128",
    "start-bridge",
    "http-send-1",
    "http-send-1-at-rust",
    "http-send-16",
    "http-send-16-at-rust",
    "http-flush-10000",
];

/// How far calls may be ahead of the slowest reader while the fan-out is measured.
const AHEAD: u64 = 1000;

/// Flushes in one repetition.
const FLUSHES: usize = 3;

/// What to measure, and of whom.
pub struct Plan {
    pub toolbox: Toolbox,
    /// The first one is what the others are compared with.
    pub servers: Vec<Peer>,
    pub bridges: Vec<Peer>,
    pub kinds: Vec<Kind>,
    pub repetitions: usize,
    /// How long each repetition measures.
    pub time: Duration,
    pub text_bytes: usize,
}

/// What one repetition gave.
pub struct Reading {
    pub values: Vec<(Metric, f64)>,
    pub foreign_cpu: Option<f64>,
}

/// What can be measured.
#[derive(Clone, Copy)]
pub struct Kind {
    family: &'static Family,
    numbers: [usize; 2],
}

/// What is measured when nobody says otherwise.
pub fn defaults() -> Vec<Kind> {
    DEFAULT
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

impl FromStr for Kind {
    type Err = String;

    /// The name of any measurement, with any numbers.
    fn from_str(name: &str) -> Result<Self, String> {
        let given = name.split('-').filter_map(|part| part.parse().ok());
        let given: Vec<usize> = given.collect();
        let numbers = [0, 1].map(|index| given.get(index).copied().unwrap_or_default());
        let mut kinds = FAMILIES.iter().map(|family| Self { family, numbers });
        let found = kinds.find(|kind| {
            let mut pairs = numbers.into_iter().zip(kind.family.most);
            let allowed =
                pairs.all(|(number, most)| (number == 0) == (most == 0) && number <= most);
            allowed && kind.name() == name
        });
        found.ok_or_else(|| format!("there is no measurement {name:?}"))
    }
}

impl Kind {
    /// By which it is chosen.
    pub fn name(self) -> String {
        self.numbered(self.family.name)
    }

    pub fn title(self) -> String {
        let title = self.numbered(self.family.title);
        match self.numbers[0] {
            1 => title
                .replace("1 readers", "1 reader")
                .replace("1 clients", "1 client"),
            _ => title,
        }
    }

    fn numbered(self, text: &str) -> String {
        let [n, m] = self.numbers.map(|number| number.to_string());
        text.replace("{n}", &n).replace("{m}", &m)
    }

    pub fn operation(self) -> &'static str {
        self.family.operation
    }

    pub fn is_of_bridges(self) -> bool {
        self.family.name == "start-bridge" || self.family.name.starts_with("http-")
    }

    /// Measures once, in processes of its own.
    pub(super) fn measure(self, peer: &Peer, plan: &Plan) -> io::Result<Reading> {
        let (toolbox, [n, m]) = (&plan.toolbox, self.numbers);
        let in_flight = |calls| Load::InFlight {
            calls,
            ahead: AHEAD,
        };
        let (readers, load) = match self.family.name {
            "start-server" => {
                let started = Instant::now();
                let server = toolbox.server(peer, 0)?;
                return started_after(started, &server, || chat::send(&server, 0, 1));
            }
            "unary-{n}" => (0, in_flight(n as u64)),
            "fanout-{n}" => (n, in_flight(16)),
            "paced-{n}-{m}" => (n, Load::Rate(m as f64)),
            "subscribe-{n}-{m}" => (n, in_flight(m as u64)),
            _ => return self.measure_bridge(peer, plan),
        };
        let config = chat::Config {
            readers,
            // The others have no such method.
            subscribe: self.family.name == "subscribe-{n}-{m}"
                && matches!(peer, Peer::Ours | Peer::Secured),
            load,
            text_bytes: plan.text_bytes,
            time: plan.time,
            behind: None,
        };
        let figures = chat::run(&[&toolbox.server(peer, 0)?], &config)?;
        Ok(reading(&figures, readers))
    }

    fn measure_bridge(self, peer: &Peer, plan: &Plan) -> io::Result<Reading> {
        let (toolbox, bytes, n) = (&plan.toolbox, plan.text_bytes, self.numbers[0]);
        let name = self.family.name;
        let behind = match peer {
            Peer::Python if !name.ends_with("-at-rust") => peer,
            _ => &Peer::Ours,
        };
        let server = toolbox.server(behind, 0)?;
        let started = Instant::now();
        if name == "start-bridge" {
            let bridge = toolbox.bridge(peer, server.address())?;
            let mut client = Client::new(bridge.address(), None);
            let first = || client.post("/getAndFlushMessages", "").map(drop);
            return started_after(started, &bridge, first);
        }
        let bridge = toolbox.bridge_among_messages(peer, server.address())?;
        if name == "http-flush-{n}" {
            let latencies = http::flush(&bridge, &server, bytes, n, FLUSHES)?;
            return Ok(Reading {
                values: quantiles(&latencies).into(),
                foreign_cpu: None,
            });
        }
        let figures = http::send(&bridge, &server, n, bytes, plan.time)?;
        Ok(reading(&figures, 0))
    }
}

fn quantiles(latencies: &Latencies) -> [(Metric, f64); 2] {
    [(Metric::P50, 0.5), (Metric::P99, 0.99)]
        .map(|(metric, part)| (metric, latencies.quantile_us(part)))
}

fn reading(figures: &Figures, readers: usize) -> Reading {
    let mut values = vec![(Metric::Throughput, figures.per_second())];
    values.extend(quantiles(&figures.latencies));
    values.extend(figures.server_cpu.map(|cpu| (Metric::ServerCpu, cpu)));
    values.push((Metric::LoadCpu, figures.load_cpu));
    // A few readers disappear in what the server's memory grows by anyway.
    let memory = figures.bytes_per_reader.filter(|_| readers >= 30);
    values.extend(memory.map(|bytes| (Metric::Memory, bytes as f64 / 1024.0)));
    Reading {
        values,
        foreign_cpu: Some(figures.foreign_cpu),
    }
}

fn started_after(
    started: Instant,
    program: &Program,
    first: impl FnOnce() -> io::Result<()>,
) -> io::Result<Reading> {
    if program.id().is_none() {
        return Err(io::Error::other("not started here"));
    }
    first()?;
    Ok(Reading {
        values: vec![(Metric::Start, started.elapsed().as_secs_f64() * 1e3)],
        foreign_cpu: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_measurements() {
        for name in DEFAULT {
            assert_eq!(name.parse::<Kind>().unwrap().name(), name);
        }
        let wrong = [
            "",
            "unary",
            "unary-0",
            "unary-x",
            "unary-01",
            "paced-5",
            "fanout-10001",
        ];
        let more = [
            "fanout-1-2",
            "fanout-1-at-rust",
            "http-send",
            "http-send-at-rust",
        ];
        for wrong in wrong.iter().chain(&more) {
            assert!(wrong.parse::<Kind>().is_err(), "{wrong}");
        }
    }
}
