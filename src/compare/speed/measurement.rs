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
    /// POST /sendMessage from so many clients.
    HttpSend(usize, Behind),
    /// A flush of so many messages.
    HttpFlush(usize),
}

/// Whose server stands behind a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// That of the same implementation.
    Own,
    /// Ours, so that only bridges differ.
    Ours,
}

impl Behind {
    fn server(self, bridge: &Peer) -> Peer {
        match (self, bridge) {
            (Self::Own, Peer::Python) => Peer::Python,
            _ => Peer::Ours,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Own => "each bridge before its own server",
            Self::Ours => "each bridge before the Rust server",
        }
    }
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
    Kind::Paced {
        readers: 1,
        rate: 500,
    },
    Kind::Paced {
        readers: 100,
        rate: 500,
    },
    Kind::StartBridge,
    Kind::HttpSend(1, Behind::Own),
    Kind::HttpSend(1, Behind::Ours),
    Kind::HttpSend(16, Behind::Own),
    Kind::HttpSend(16, Behind::Ours),
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

/// At the end of the name of [`Behind::Ours`].
const AT_RUST: &str = "-at-rust";

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
            Self::HttpSend(clients, Behind::Own) => format!("http-send-{clients}"),
            Self::HttpSend(clients, Behind::Ours) => format!("http-send-{clients}{AT_RUST}"),
            Self::HttpFlush(messages) => format!("http-flush-{messages}"),
        }
    }

    pub fn title(&self) -> String {
        match self {
            Self::StartServer => "Server: from its start to the first answer".into(),
            Self::Unary(calls) => format!("SendMessage, {calls} in flight on one connection"),
            Self::Fanout(readers) => {
                let readers = plural(*readers, "reader");
                format!("Fan-out to {readers}, latency until the last one has it")
            }
            Self::Paced { readers, rate } => {
                let readers = plural(*readers, "reader");
                format!("{rate} messages/s to {readers}, latency until the last one has it")
            }
            Self::StartBridge => {
                let behind = Behind::Own.title();
                format!("From the start of a bridge to its first answer, {behind}")
            }
            Self::HttpSend(clients, behind) => {
                let clients = plural(*clients, "client");
                format!("POST /sendMessage from {clients}, {}", behind.title())
            }
            Self::HttpFlush(messages) => {
                let behind = Behind::Own.title();
                format!("POST /getAndFlushMessages with {messages} messages, {behind}")
            }
        }
    }

    /// What is counted.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::StartServer | Self::StartBridge => "start",
            Self::Unary(_) => "call",
            Self::Fanout(_) | Self::Paced { .. } => "delivery",
            Self::HttpSend(..) => "request",
            Self::HttpFlush(_) => "flush",
        }
    }

    pub fn is_of_bridges(&self) -> bool {
        matches!(
            self,
            Self::StartBridge | Self::HttpSend(..) | Self::HttpFlush(_)
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
                let server = server(&Behind::Own.server(peer))?;
                let started = Instant::now();
                let bridge = toolbox.bridge(peer, server.address())?;
                started_after(started, &bridge, |bridge| http::once(bridge.address()))
            }
            Self::HttpSend(clients, behind) => {
                let server = server(&behind.server(peer))?;
                let bridge = toolbox.bridge_among_messages(peer, server.address())?;
                let load = http::Load {
                    clients,
                    text_bytes,
                    time,
                };
                Ok(reading(&http::send(&bridge, &server, &load)?))
            }
            Self::HttpFlush(messages) => {
                let server = server(&Behind::Own.server(peer))?;
                let bridge = toolbox.bridge_among_messages(peer, server.address())?;
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

fn plural(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
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
        let (numbered, behind) = match name.strip_suffix(AT_RUST) {
            Some(numbered) => (numbered, Behind::Ours),
            None => (name, Behind::Own),
        };
        let mut parts = numbered.split('-');
        let mut number = |most: usize| {
            let number = parts.next_back().and_then(|part| part.parse().ok());
            number.filter(|number| (1..=most).contains(number))
        };
        let kind = match name {
            "start-server" => Some(Self::StartServer),
            "start-bridge" => Some(Self::StartBridge),
            _ if name.starts_with("unary-") => number(1000).map(Self::Unary),
            _ if name.starts_with("fanout-") => number(10_000).map(Self::Fanout),
            _ if name.starts_with("http-send-") => {
                number(1000).map(|clients| Self::HttpSend(clients, behind))
            }
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
            "fanout-1-at-rust",
            "http-send",
            "http-send-at-rust",
        ] {
            assert!(wrong.parse::<Kind>().is_err(), "{wrong}");
        }
    }
}
