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

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    StartServer,
    /// SendMessage with so many calls in flight, and nobody who reads.
    Unary(usize),
    /// As many messages as are taken, to so many readers.
    Fanout(usize),
    /// To so many readers so many messages a second.
    Paced(usize, usize),
    StartBridge,
    /// POST /sendMessage from so many clients.
    HttpSend(usize),
    /// The same with our server behind each bridge, so that only bridges differ.
    HttpSendAtRust(usize),
    /// A flush of so many messages.
    HttpFlush(usize),
}

/// What is measured when nobody says otherwise.
pub const DEFAULT: [Kind; 16] = [
    Kind::StartServer,
    Kind::Unary(1),
    Kind::Unary(16),
    Kind::Fanout(1),
    Kind::Fanout(10),
    Kind::Fanout(30),
    Kind::Fanout(100),
    Kind::Fanout(1000),
    Kind::Paced(1, 500),
    Kind::Paced(100, 500),
    Kind::StartBridge,
    Kind::HttpSend(1),
    Kind::HttpSendAtRust(1),
    Kind::HttpSend(16),
    Kind::HttpSendAtRust(16),
    Kind::HttpFlush(10_000),
];

/// How far calls may be ahead of the slowest reader while the fan-out is measured.
const AHEAD: u64 = 1000;

/// Flushes in one repetition.
const FLUSHES: usize = 3;

pub struct Settings<'a> {
    pub toolbox: &'a Toolbox,
    pub time: Duration,
    pub text_bytes: usize,
}

/// What one repetition gave.
pub struct Reading {
    pub values: Vec<(Metric, f64)>,
    pub foreign_cpu: Option<f64>,
}

impl FromStr for Kind {
    type Err = String;

    /// The name of any measurement, with any numbers.
    fn from_str(name: &str) -> Result<Self, String> {
        let numbers = name.split('-').filter_map(|part| part.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        let kinds = match numbers[..] {
            [] => vec![Self::StartServer, Self::StartBridge],
            [n @ 1..=1000] => {
                let few = vec![Self::Unary(n), Self::HttpSend(n), Self::HttpSendAtRust(n)];
                [few, vec![Self::Fanout(n), Self::HttpFlush(n)]].concat()
            }
            [n @ 1..=10_000] => vec![Self::Fanout(n), Self::HttpFlush(n)],
            [n @ 1..=100_000] => vec![Self::HttpFlush(n)],
            [readers @ 1..=10_000, rate @ 1..=100_000] => vec![Self::Paced(readers, rate)],
            _ => Vec::new(),
        };
        let kind = kinds.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| format!("there is no measurement {name:?}"))
    }
}

impl Kind {
    /// By which it is chosen.
    pub fn name(self) -> String {
        self.words().0
    }

    pub fn title(self) -> String {
        self.words().2
    }

    /// What is counted.
    pub fn operation(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (String, &'static str, String) {
        let plural = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            _ => format!("{n} {what}s"),
        };
        let to = |n| {
            format!(
                "to {}, latency until the last one has it",
                plural(n, "reader")
            )
        };
        let sent = |n, at| {
            format!(
                "POST /sendMessage from {}, each bridge before {at} server",
                plural(n, "client")
            )
        };
        let own = "each bridge before its own server";
        match self {
            Self::StartServer => (
                "start-server".into(),
                "start",
                "Server: from its start to the first answer".into(),
            ),
            Self::Unary(n) => (
                format!("unary-{n}"),
                "call",
                format!("SendMessage, {n} in flight on one connection"),
            ),
            Self::Fanout(n) => (
                format!("fanout-{n}"),
                "delivery",
                format!("Fan-out {}", to(n)),
            ),
            Self::Paced(n, rate) => (
                format!("paced-{n}-{rate}"),
                "delivery",
                format!("{rate} messages/s {}", to(n)),
            ),
            Self::StartBridge => (
                "start-bridge".into(),
                "start",
                format!("From the start of a bridge to its first answer, {own}"),
            ),
            Self::HttpSend(n) => (format!("http-send-{n}"), "request", sent(n, "its own")),
            Self::HttpSendAtRust(n) => (
                format!("http-send-{n}-at-rust"),
                "request",
                sent(n, "the Rust"),
            ),
            Self::HttpFlush(n) => (
                format!("http-flush-{n}"),
                "flush",
                format!("POST /getAndFlushMessages with {n} messages, {own}"),
            ),
        }
    }

    pub fn is_of_bridges(self) -> bool {
        self == Self::StartBridge || self.name().starts_with("http-")
    }

    /// Measures once, in processes of its own.
    ///
    /// # Errors
    /// What the peer cannot do.
    pub fn measure(self, peer: &Peer, settings: &Settings<'_>) -> io::Result<Reading> {
        let Settings {
            toolbox,
            time,
            text_bytes,
        } = *settings;
        let in_flight = |calls| Load::InFlight {
            calls,
            ahead: AHEAD,
        };
        let (readers, load) = match self {
            Self::StartServer => {
                let started = Instant::now();
                let server = toolbox.server(peer, 0)?;
                return started_after(started, &server, || chat::send(server.address(), 0, 1));
            }
            Self::Unary(calls) => (0, in_flight(calls as u64)),
            Self::Fanout(readers) => (readers, in_flight(16)),
            Self::Paced(readers, rate) => (readers, Load::Rate(rate as f64)),
            _ => return self.measure_bridge(peer, settings),
        };
        let config = chat::Config {
            readers,
            load,
            text_bytes,
            time,
        };
        Ok(reading(
            &chat::run(&toolbox.server(peer, 0)?, &config)?,
            readers,
        ))
    }

    fn measure_bridge(self, peer: &Peer, settings: &Settings<'_>) -> io::Result<Reading> {
        let Settings {
            toolbox,
            time,
            text_bytes,
        } = *settings;
        let behind = match (self, peer) {
            (Self::HttpSendAtRust(_), _) => &Peer::Ours,
            (_, Peer::Python) => &Peer::Python,
            _ => &Peer::Ours,
        };
        let server = toolbox.server(behind, 0)?;
        let started = Instant::now();
        if self == Self::StartBridge {
            let bridge = toolbox.bridge(peer, server.address())?;
            let mut client = Client::new(bridge.address());
            return started_after(started, &bridge, || {
                client.post("/getAndFlushMessages", "").map(drop)
            });
        }
        let bridge = toolbox.bridge_among_messages(peer, server.address())?;
        if let Self::HttpFlush(messages) = self {
            let latencies = http::flush(&bridge, &server, text_bytes, messages, FLUSHES)?;
            return Ok(Reading {
                values: quantiles(&latencies).into(),
                foreign_cpu: None,
            });
        }
        let (Self::HttpSend(clients) | Self::HttpSendAtRust(clients)) = self else {
            return Err(io::Error::other("no measurement of a bridge"));
        };
        let figures = http::send(&bridge, &server, clients, text_bytes, time)?;
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
        for kind in DEFAULT {
            assert_eq!(kind.name().parse(), Ok(kind));
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
