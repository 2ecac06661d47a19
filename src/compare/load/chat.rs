//! How much a SendMessage call costs a server, or with readers, each on a connection
//! of its own, a delivery. One connection sends; at several servers that are one chat, one
//! to each of them in turn.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::figures::{Figures, Stopwatch};
use super::process::{Program, resident_bytes};
use super::wire::{Event, Wire};
use super::{TIMEOUT, WARM_UP, no_answer};
use crate::chat::client::Message;
use crate::latency::Latencies;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// With none, calls are measured.
    pub readers: usize,
    /// They call Subscribe instead of ReadMessages.
    pub subscribe: bool,
    pub load: Load,
    pub text_bytes: usize,
    /// How long to measure, after a short warm-up.
    pub time: Duration,
    /// The process of what is behind the servers, whose CPU time is told too.
    pub behind: Option<u32>,
}

/// How fast messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// As fast as they are answered, so many at once, and at most so many ahead
    /// of the slowest reader.
    InFlight { calls: u64, ahead: u64 },
    /// So many a second, whatever comes back.
    Rate(f64),
}

/// How long to wait for all readers to have one message, before the next one is
/// tried: the server may not have registered them yet.
const ALIGN: Duration = Duration::from_millis(500);

/// Sends so many messages and returns when all are answered.
pub fn send(server: &Program, text_bytes: usize, messages: usize) -> io::Result<()> {
    let mut wire = Wire::new(server)?;
    let text = "x".repeat(text_bytes);
    let (mut sent, mut answered, mut last) = (0, 0, Instant::now());
    while answered < messages {
        while sent < messages && sent - answered < 16 && wire.call(0, &text) {
            sent += 1;
        }
        wire.poll(TIMEOUT, |event| {
            answered += usize::from(matches!(event, Event::Answered { .. }));
            last = Instant::now();
        })?;
        if last.elapsed() > TIMEOUT {
            return Err(no_answer("SendMessage"));
        }
    }
    Ok(())
}

/// Measures a server that is running, or several. With readers, an operation is a delivery,
/// and its latency the time from the call until the *last* reader had the message.
pub fn run(servers: &[&Program], config: &Config) -> io::Result<Figures> {
    let padding = config.text_bytes.saturating_sub(NUMBER_DIGITS);
    let mut run = Run {
        wire: Wire::to(servers)?,
        sent: 0,
        first: 0,
        padding: "x".repeat(padding),
        tally: Tally::new(servers.len(), config.readers)?,
    };
    // The first message makes a server ready, and its memory a base.
    for _ in servers {
        run.align(0)?;
    }
    let memory = || -> io::Result<Option<u64>> {
        let of = |server: &&Program| server.id().map(resident_bytes).transpose();
        servers.iter().map(of).sum()
    };
    let before = memory()?;
    run.wire.read(config.readers, config.subscribe)?;
    // Only after this are all of them registered, with their threads.
    run.align(config.readers)?;
    let grown = memory()?.zip(before);
    let memory = grown.map(|(now, then)| now.saturating_sub(then));
    run.first = run.sent;
    let started = Instant::now();
    run.pump(config, started, WARM_UP)?;
    (run.tally.operations, run.tally.latencies) = (0, Latencies::new()?);
    run.tally.places = vec![Latencies::new()?; 3];
    let stopwatch = Stopwatch::start(servers, config.behind)?;
    run.pump(config, started, WARM_UP + config.time)?;
    let mut figures = stopwatch.stop(run.tally.operations, run.tally.latencies)?;
    figures.places = run.tally.places;
    figures.bytes_per_reader = memory.map(|bytes| bytes / config.readers.max(1) as u64);
    Ok(figures)
}

struct Run {
    wire: Wire,
    sent: u64,
    /// What was sent before the measurement.
    first: u64,
    padding: String,
    tally: Tally,
}

impl Run {
    /// Sends a message with its number; false when the server takes none for now.
    fn send(&mut self) -> bool {
        let number = self.sent + 1;
        let text = format!("{number:0NUMBER_DIGITS$x}{}", self.padding);
        let taken = self.wire.call(self.tally.server_of(number), &text);
        self.sent += u64::from(taken);
        taken
    }

    /// Sends one message at a time until so many readers have the same one:
    /// then all are registered, and nothing is on its way.
    fn align(&mut self, readers: usize) -> io::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let mut have = 0;
        while Instant::now() < deadline {
            self.send();
            let (number, mut answered) = (Some(self.sent), None);
            have = 0;
            while answered.is_none_or(|at: Instant| have < readers && at.elapsed() < ALIGN) {
                self.wire
                    .poll(Duration::from_millis(10), |event| match event {
                        Event::Message { message, .. } if number_of(&message) == number => {
                            have += 1;
                        }
                        Event::Answered { .. } => answered = Some(Instant::now()),
                        _ => {}
                    })?;
                if answered.is_none() && Instant::now() > deadline {
                    return Err(no_answer("SendMessage"));
                }
            }
            if have >= readers {
                return Ok(());
            }
        }
        let what = format!("only {have} of {readers} readers get messages");
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }

    /// Sends as the load says, until so long after `started`.
    fn pump(&mut self, config: &Config, started: Instant, until: Duration) -> io::Result<()> {
        let mut last = Instant::now();
        while started.elapsed() < until {
            let sent = self.sent - self.first;
            let (due, wait) = match config.load {
                Load::InFlight { calls, ahead } => {
                    let free = calls - (sent - self.tally.answered);
                    let slowest = match config.readers {
                        0 => sent,
                        _ => self.tally.slowest,
                    };
                    (free.min((slowest + ahead).saturating_sub(sent)), TIMEOUT)
                }
                Load::Rate(rate) => {
                    let due = (started.elapsed().as_secs_f64() * rate) as u64 + 1;
                    let next = Duration::from_secs_f64(due as f64 / rate);
                    (due - sent, next.saturating_sub(started.elapsed()))
                }
            };
            for _ in 0..due {
                if !self.send() {
                    break;
                }
                self.tally.sent(self.sent);
            }
            let tally = &mut self.tally;
            self.wire.poll(wait.min(TIMEOUT), |event| {
                last = Instant::now();
                tally.take(event, last);
            })?;
            if let Some(wrong) = self.tally.wrong {
                return Err(io::Error::other(wrong));
            }
            if last.elapsed() > TIMEOUT {
                return Err(no_answer("SendMessage, and no delivery"));
            }
        }
        Ok(())
    }
}

/// At the start of each text.
const NUMBER_DIGITS: usize = 16;

fn number_of(message: &Message) -> Option<u64> {
    u64::from_str_radix(message.text.get(..NUMBER_DIGITS)?, 16).ok()
}

/// Who has what.
struct Tally {
    /// Messages go to them in turn, and readers are at them in turn.
    servers: usize,
    /// How many messages each reader has.
    counts: Vec<u64>,
    /// Messages that every reader has.
    slowest: u64,
    /// From there on, in the one order: a message's number, and how many have it at the
    /// server that it was sent to, and elsewhere.
    pending: VecDeque<(u64, [usize; 2])>,
    /// When messages were sent, by number, as far as they may still be asked for.
    sent: VecDeque<(u64, Instant)>,
    answered: u64,
    /// Deliveries, or without readers calls.
    operations: u64,
    latencies: Latencies,
    /// As those of the figures.
    places: Vec<Latencies>,
    wrong: Option<&'static str>,
}

impl Tally {
    fn new(servers: usize, readers: usize) -> io::Result<Self> {
        Ok(Self {
            servers,
            counts: vec![0; readers],
            slowest: 0,
            pending: VecDeque::new(),
            sent: VecDeque::new(),
            answered: 0,
            operations: 0,
            latencies: Latencies::new()?,
            places: vec![Latencies::new()?; 3],
            wrong: None,
        })
    }

    fn server_of(&self, number: u64) -> usize {
        (number % self.servers as u64) as usize
    }

    fn sent(&mut self, number: u64) {
        if !self.counts.is_empty() {
            self.sent.push_back((number, Instant::now()));
        }
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Message { reader, message } => self.received(reader, &message, now),
            Event::Answered { latency } => {
                self.answered += 1;
                self.places[0].record(latency);
                if self.counts.is_empty() {
                    self.operations += 1;
                    self.latencies.record(latency);
                }
            }
        }
    }

    fn received(&mut self, reader: usize, message: &Message, now: Instant) {
        let all = self.counts.len();
        let (Some(number), Some(count)) = (number_of(message), self.counts.get_mut(reader)) else {
            self.wrong = Some("a message that nobody sent");
            return;
        };
        let index = (*count - self.slowest) as usize;
        *count += 1;
        self.operations += 1;
        if index == self.pending.len() {
            self.pending.push_back((number, [0, 0]));
        }
        let server = self.server_of(number);
        let here = (all + self.servers - 1 - server) / self.servers;
        let part = usize::from(reader % self.servers != server);
        match self.pending.get_mut(index) {
            Some((expected, have)) if *expected == number => {
                have[part] += 1;
                if have[part] == [here, all - here][part] {
                    record(&mut self.places[1 + part], &self.sent, number, now);
                }
            }
            _ => self.wrong = Some("two readers see different orders"),
        }
        while let Some(&(number, [here, elsewhere])) = self.pending.front()
            && here + elsewhere == all
        {
            self.pending.pop_front();
            self.slowest += 1;
            record(&mut self.latencies, &self.sent, number, now);
            // Calls are answered in almost the order in which they were sent.
            while self
                .sent
                .front()
                .is_some_and(|sent| sent.0 + SENT_KEPT < number)
            {
                self.sent.pop_front();
            }
        }
    }
}

/// How long ago this message was sent.
fn record(into: &mut Latencies, sent: &VecDeque<(u64, Instant)>, number: u64, now: Instant) {
    let first = sent.front().map_or(0, |sent| sent.0);
    let index = number.checked_sub(first).map(|index| index as usize);
    if let Some((_, sent)) = index.and_then(|index| sent.get(index)) {
        into.record(now.duration_since(*sent));
    }
}

/// How far the server's order may differ from that of the calls. More than are
/// ever in flight.
const SENT_KEPT: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::clock::Timestamp;

    fn tally(servers: usize, readers: usize, received: &[(usize, u64)]) -> Tally {
        let mut tally = Tally::new(servers, readers).unwrap();
        (1..=3).for_each(|number| tally.sent(number));
        for (reader, number) in received {
            let message = Message {
                author: String::new(),
                text: format!("{number:016x}"),
                send_time: Timestamp::from_nanos(1),
            };
            tally.received(*reader, &message, Instant::now());
        }
        tally
    }

    #[test]
    fn a_delivery_counts_when_the_last_reader_has_it() {
        let tally = tally(1, 2, &[(0, 2), (0, 1), (1, 2), (0, 3), (1, 1)]);
        assert_eq!((tally.slowest, tally.operations, tally.wrong), (2, 5, None));
    }

    #[test]
    fn the_last_readers_of_the_server_that_was_called_and_of_the_others_are_told_apart() {
        // The first message is sent to the second server, where the readers 1 and 3 are.
        let have = |received: &[(usize, u64)]| {
            let tally = tally(2, 4, received);
            let [_, there, elsewhere] = tally.places.as_slice() else {
                panic!("three places");
            };
            [there, elsewhere, &tally.latencies].map(|it| it.quantile_us(1.0) > 0.0)
        };
        assert_eq!(have(&[(1, 1), (0, 1)]), [false, false, false]);
        assert_eq!(have(&[(1, 1), (3, 1)]), [true, false, false]);
        assert_eq!(have(&[(0, 1), (1, 1), (2, 1)]), [false, true, false]);
        assert_eq!(have(&[(0, 1), (1, 1), (2, 1), (3, 1)]), [true, true, true]);
    }

    #[test]
    fn different_orders_are_noticed() {
        let tally = tally(1, 2, &[(0, 1), (0, 2), (1, 2)]);
        assert_eq!(tally.wrong, Some("two readers see different orders"));
    }
}
