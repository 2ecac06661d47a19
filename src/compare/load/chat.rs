//! How much a SendMessage call costs a server, or with readers, each on a connection
//! of its own, a delivery. One connection sends.

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
        while sent < messages && sent - answered < 16 && wire.call(&text) {
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

/// Measures a server that is running. With readers, an operation is a delivery, and
/// its latency the time from the call until the *last* reader had the message.
pub fn run(server: &Program, config: &Config) -> io::Result<Figures> {
    let padding = config.text_bytes.saturating_sub(NUMBER_DIGITS);
    let mut run = Run {
        wire: Wire::new(server)?,
        sent: 0,
        first: 0,
        padding: "x".repeat(padding),
        tally: Tally::new(config.readers)?,
    };
    // The first message makes the server ready, and its memory a base.
    run.align(0)?;
    let memory = || server.id().map(resident_bytes).transpose();
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
    let stopwatch = Stopwatch::start(server, None)?;
    run.pump(config, started, WARM_UP + config.time)?;
    let mut figures = stopwatch.stop(run.tally.operations, run.tally.latencies)?;
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
        let taken = self.wire.call(&text);
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
    /// How many messages each reader has.
    counts: Vec<u64>,
    /// Messages that every reader has.
    slowest: u64,
    /// From there on, in the one order: a message's number, and how many have it.
    pending: VecDeque<(u64, usize)>,
    /// When messages were sent, by number, as far as they may still be asked for.
    sent: VecDeque<(u64, Instant)>,
    answered: u64,
    /// Deliveries, or without readers calls.
    operations: u64,
    latencies: Latencies,
    wrong: Option<&'static str>,
}

impl Tally {
    fn new(readers: usize) -> io::Result<Self> {
        Ok(Self {
            counts: vec![0; readers],
            slowest: 0,
            pending: VecDeque::new(),
            sent: VecDeque::new(),
            answered: 0,
            operations: 0,
            latencies: Latencies::new()?,
            wrong: None,
        })
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
                if self.counts.is_empty() {
                    self.operations += 1;
                    self.latencies.record(latency);
                }
            }
        }
    }

    fn received(&mut self, reader: usize, message: &Message, now: Instant) {
        let (Some(number), Some(count)) = (number_of(message), self.counts.get_mut(reader)) else {
            self.wrong = Some("a message that nobody sent");
            return;
        };
        let index = (*count - self.slowest) as usize;
        *count += 1;
        self.operations += 1;
        if index == self.pending.len() {
            self.pending.push_back((number, 0));
        }
        match self.pending.get_mut(index) {
            Some((expected, have)) if *expected == number => *have += 1,
            _ => self.wrong = Some("two readers see different orders"),
        }
        while let Some(&(number, have)) = self.pending.front()
            && have == self.counts.len()
        {
            self.pending.pop_front();
            self.slowest += 1;
            let first = self.sent.front().map_or(0, |sent| sent.0);
            let index = number.checked_sub(first).map(|index| index as usize);
            if let Some((_, sent)) = index.and_then(|index| self.sent.get(index)) {
                self.latencies.record(now.duration_since(*sent));
            }
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

/// How far the server's order may differ from that of the calls. More than are
/// ever in flight.
const SENT_KEPT: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::clock::Timestamp;

    fn tally(sent: u64, received: &[(usize, u64)]) -> Tally {
        let mut tally = Tally::new(2).unwrap();
        (1..=sent).for_each(|number| tally.sent(number));
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
        let tally = tally(3, &[(0, 2), (0, 1), (1, 2), (0, 3), (1, 1)]);
        assert_eq!((tally.slowest, tally.operations, tally.wrong), (2, 5, None));
    }

    #[test]
    fn different_orders_are_noticed() {
        let tally = tally(2, &[(0, 1), (0, 2), (1, 2)]);
        assert_eq!(tally.wrong, Some("two readers see different orders"));
    }
}
