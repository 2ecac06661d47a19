//! The measurements by name, and how each is made once.

use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::compare::load::fanout::{self, Load};
use crate::compare::load::figures::Figures;
use crate::compare::load::process::Program;
use crate::compare::load::{http, unary};
use crate::compare::peer::{Peer, Toolbox};
use crate::compare::report::Metric;

/// What can be measured; its name is that of the variant and its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    StartServer,
    /// SendMessage with so many calls in flight, and nobody who reads.
    Unary(usize),
    /// As many messages as are taken, to so many readers.
    Fanout(usize),
    /// So many messages a second to so many readers.
    Paced {
        readers: usize,
        rate: u32,
    },
    StartBridge,
    HttpSend,
    /// A flush of so many messages.
    HttpFlush(usize),
}

/// What is measured when nobody says otherwise.
pub const DEFAULT: [Kind; 13] = [
    Kind::StartServer,
    Kind::Unary(1),
    Kind::Unary(16),
    Kind::Fanout(1),
    Kind::Fanout(10),
    Kind::Fanout(30),
    Kind::Fanout(100),
    Kind::Fanout(1000),
    Kind::Paced {
        readers: 1,
        rate: 500,
    },
    Kind::Paced {
        readers: 100,
        rate: 500,
    },
    Kind::StartBridge,
    Kind::HttpSend,
    Kind::HttpFlush(10_000),
];

/// Calls in flight while the fan-out is measured, and how far they may be ahead
/// of the slowest reader.
const IN_FLIGHT: Load = Load::InFlight {
    calls: 16,
    ahead: 1000,
};

/// Flushes in one repetition.
const FLUSHES: usize = 3;

/// The server behind every bridge is ours, so that only bridges differ.
const BEHIND: Peer = Peer::Ours;

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

impl Kind {
    pub fn name(&self) -> String {
        match self {
            Self::StartServer => "start-server".into(),
            Self::Unary(calls) => format!("unary-{calls}"),
            Self::Fanout(readers) => format!("fanout-{readers}"),
            Self::Paced { readers, rate } => format!("paced-{readers}-{rate}"),
            Self::StartBridge => "start-bridge".into(),
            Self::HttpSend => "http-send".into(),
            Self::HttpFlush(messages) => format!("http-flush-{messages}"),
        }
    }

    pub fn title(&self) -> String {
        match self {
            Self::StartServer => "Server: from its start to the first answer".into(),
            Self::Unary(calls) => format!("SendMessage, {calls} in flight on one connection"),
            Self::Fanout(readers) => {
                let readers = plural(*readers);
                format!("Fan-out to {readers}, latency until the last one has it")
            }
            Self::Paced { readers, rate } => {
                let readers = plural(*readers);
                format!("{rate} messages/s to {readers}, latency until the last one has it")
            }
            Self::StartBridge => "Bridge: from its start to the first answer".into(),
            Self::HttpSend => "POST /sendMessage, one client".into(),
            Self::HttpFlush(messages) => {
                format!("POST /getAndFlushMessages with {messages} messages")
            }
        }
    }

    /// What is counted.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::StartServer | Self::StartBridge => "start",
            Self::Unary(_) => "call",
            Self::Fanout(_) | Self::Paced { .. } => "delivery",
            Self::HttpSend => "request",
            Self::HttpFlush(_) => "flush",
        }
    }

    pub fn is_of_bridges(&self) -> bool {
        matches!(
            self,
            Self::StartBridge | Self::HttpSend | Self::HttpFlush(_)
        )
    }

    /// Measures once, in processes of its own.
    ///
    /// # Errors
    /// What the peer cannot do.
    pub fn measure(&self, peer: &Peer, settings: &Settings<'_>) -> io::Result<Reading> {
        let &Settings {
            toolbox,
            time,
            text_bytes,
        } = settings;
        let server = |peer: &Peer| toolbox.server(peer, 0);
        match *self {
            Self::StartServer => {
                let started = Instant::now();
                let server = server(peer)?;
                started_after(started, &server, |server| unary::once(server.address()))
            }
            Self::Unary(in_flight) => {
                let config = unary::Config {
                    in_flight,
                    text_bytes,
                    time,
                };
                Ok(reading(&unary::run(&server(peer)?, &config)?))
            }
            Self::Fanout(readers) => fan_out(&server(peer)?, readers, IN_FLIGHT, settings),
            Self::Paced { readers, rate } => fan_out(
                &server(peer)?,
                readers,
                Load::Rate(f64::from(rate)),
                settings,
            ),
            Self::StartBridge => {
                let server = server(&BEHIND)?;
                let started = Instant::now();
                let bridge = toolbox.bridge(peer, server.address())?;
                started_after(started, &bridge, |bridge| http::once(bridge.address()))
            }
            Self::HttpSend => {
                let server = server(&BEHIND)?;
                let bridge = toolbox.bridge(peer, server.address())?;
                Ok(reading(&http::send(&bridge, text_bytes, time)?))
            }
            Self::HttpFlush(messages) => {
                let server = server(&BEHIND)?;
                let bridge = toolbox.bridge(peer, server.address())?;
                let latencies = http::flush(&bridge, &server, text_bytes, messages, FLUSHES)?;
                Ok(Reading {
                    values: vec![
                        (Metric::P50, latencies.quantile_us(0.5)),
                        (Metric::P99, latencies.quantile_us(0.99)),
                    ],
                    foreign_cpu: None,
                })
            }
        }
    }
}

fn plural(readers: usize) -> String {
    let plural = if readers == 1 { "" } else { "s" };
    format!("{readers} reader{plural}")
}

fn fan_out(
    server: &Program,
    readers: usize,
    load: Load,
    settings: &Settings<'_>,
) -> io::Result<Reading> {
    let config = fanout::Config {
        readers,
        load,
        text_bytes: settings.text_bytes,
        time: settings.time,
    };
    let figures = fanout::run(server, &config, &|_| {})?;
    let mut reading = reading(&figures);
    // A few readers disappear in what the server's memory grows by anyway.
    if let Some(bytes) = figures.bytes_per_reader.filter(|_| readers >= 30) {
        reading.values.push((Metric::Memory, bytes as f64 / 1024.0));
    }
    Ok(reading)
}

fn reading(figures: &Figures) -> Reading {
    let mut values = vec![
        (Metric::Throughput, figures.per_second()),
        (Metric::P50, figures.latencies.quantile_us(0.5)),
        (Metric::P99, figures.latencies.quantile_us(0.99)),
    ];
    if let Some(cpu) = figures.server_cpu_per_operation() {
        values.push((Metric::ServerCpu, cpu));
    }
    values.push((Metric::LoadCpu, figures.load_cpu_per_operation()));
    Reading {
        values,
        foreign_cpu: Some(figures.foreign_cpu),
    }
}

fn started_after(
    started: Instant,
    program: &Program,
    first: impl FnOnce(&Program) -> io::Result<()>,
) -> io::Result<Reading> {
    if program.id().is_none() {
        return Err(io::Error::other("not started here"));
    }
    first(program)?;
    Ok(Reading {
        values: vec![(Metric::Start, started.elapsed().as_secs_f64() * 1e3)],
        foreign_cpu: None,
    })
}

impl FromStr for Kind {
    type Err = String;

    /// The name of any measurement, with any numbers.
    fn from_str(name: &str) -> Result<Self, String> {
        let mut parts = name.split('-');
        let mut number = |most: usize| {
            let number = parts.next_back().and_then(|part| part.parse().ok());
            number.filter(|number| (1..=most).contains(number))
        };
        let kind = match name {
            "start-server" => Some(Self::StartServer),
            "start-bridge" => Some(Self::StartBridge),
            "http-send" => Some(Self::HttpSend),
            _ if name.starts_with("unary-") => number(1000).map(Self::Unary),
            _ if name.starts_with("fanout-") => number(10_000).map(Self::Fanout),
            _ if name.starts_with("http-flush-") => number(100_000).map(Self::HttpFlush),
            _ if name.starts_with("paced-") => {
                number(100_000)
                    .zip(number(10_000))
                    .map(|(rate, readers)| Self::Paced {
                        readers,
                        rate: rate as u32,
                    })
            }
            _ => None,
        };
        kind.filter(|kind| kind.name() == name)
            .ok_or_else(|| format!("there is no measurement {name:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_measurements() {
        for kind in DEFAULT {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for wrong in [
            "",
            "unary",
            "unary-0",
            "unary-x",
            "paced-5",
            "fanout-10001",
            "fanout-1-2",
        ] {
            assert!(wrong.parse::<Kind>().is_err(), "{wrong}");
        }
    }
}
