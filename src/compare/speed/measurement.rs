//! The measurements by name, and how each is made once.

use std::fmt;
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

/// The name, by which it is chosen.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartServer => write!(f, "start-server"),
            Self::Unary(calls) => write!(f, "unary-{calls}"),
            Self::Fanout(readers) => write!(f, "fanout-{readers}"),
            Self::Paced(readers, rate) => write!(f, "paced-{readers}-{rate}"),
            Self::StartBridge => write!(f, "start-bridge"),
            Self::HttpSend(clients) => write!(f, "http-send-{clients}"),
            Self::HttpSendAtRust(clients) => write!(f, "http-send-{clients}-at-rust"),
            Self::HttpFlush(messages) => write!(f, "http-flush-{messages}"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    /// The name of any measurement, with any numbers.
    fn from_str(name: &str) -> Result<Self, String> {
        let numbers = name.split('-').filter_map(|part| part.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        let kind = match numbers[..] {
            [] if name == "start-server" => Some(Self::StartServer),
            [] => Some(Self::StartBridge),
            [readers @ 1..=10_000, rate @ 1..=100_000] => Some(Self::Paced(readers, rate)),
            [one @ 1..=100_000] => [
                (1000, Self::Unary(one)),
                (10_000, Self::Fanout(one)),
                (1000, Self::HttpSend(one)),
                (1000, Self::HttpSendAtRust(one)),
                (100_000, Self::HttpFlush(one)),
            ]
            .into_iter()
            .find(|(most, kind)| one <= *most && kind.to_string() == name)
            .map(|(_, kind)| kind),
            _ => None,
        };
        kind.filter(|kind| kind.to_string() == name)
            .ok_or_else(|| format!("there is no measurement {name:?}"))
    }
}

impl Kind {
    pub fn title(self) -> String {
        let own = "each bridge before its own server";
        let plural = |count: usize, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        let readers = |readers| {
            let readers = plural(readers, "reader");
            format!("to {readers}, latency until the last one has it")
        };
        let clients = |clients| format!("POST /sendMessage from {}", plural(clients, "client"));
        match self {
            Self::StartServer => "Server: from its start to the first answer".into(),
            Self::Unary(calls) => format!("SendMessage, {calls} in flight on one connection"),
            Self::Fanout(count) => format!("Fan-out {}", readers(count)),
            Self::Paced(count, rate) => format!("{rate} messages/s {}", readers(count)),
            Self::StartBridge => format!("From the start of a bridge to its first answer, {own}"),
            Self::HttpSend(count) => format!("{}, {own}", clients(count)),
            Self::HttpSendAtRust(count) => {
                format!("{}, each bridge before the Rust server", clients(count))
            }
            Self::HttpFlush(messages) => {
                format!("POST /getAndFlushMessages with {messages} messages, {own}")
            }
        }
    }

    /// What is counted.
    pub fn operation(self) -> &'static str {
        match self {
            Self::StartServer | Self::StartBridge => "start",
            Self::Unary(_) => "call",
            Self::Fanout(_) | Self::Paced(..) => "delivery",
            Self::HttpSend(_) | Self::HttpSendAtRust(_) => "request",
            Self::HttpFlush(_) => "flush",
        }
    }

    pub fn is_of_bridges(self) -> bool {
        use Kind::{HttpFlush, HttpSend, HttpSendAtRust, StartBridge};
        matches!(
            self,
            StartBridge | HttpSend(_) | HttpSendAtRust(_) | HttpFlush(_)
        )
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
            assert_eq!(kind.to_string().parse(), Ok(kind));
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
