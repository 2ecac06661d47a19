//! How much a delivery costs: N readers, each on a connection of its own, and
//! one connection that sends.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::figures::{Figures, Stopwatch};
use super::process::{Program, resident_bytes};
use super::wire::{Caller, Event, Wire};
use super::{TIMEOUT, WARM_UP};
use crate::chat::client::Message;
use crate::chat::wire;
use crate::latency::Latencies;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub readers: usize,
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
    InFlight { calls: usize, ahead: u64 },
    /// So many a second, whatever comes back.
    Rate(f64),
}

/// How long to wait for a first or another acknowledgement of a subscription.
const SETTLE: Duration = Duration::from_millis(300);

/// How long to wait for all readers to have one message, before the next one is
/// tried: a server that acknowledges nothing may not have registered them yet.
const ALIGN: Duration = Duration::from_millis(500);

/// Measures a server that is running. An operation is a delivery; its latency is
/// the time from the call until the *last* reader had the message. `progress` is
/// told what part of the time is over, 0 to 1.
///
/// # Errors
/// When nothing is delivered in time, or two readers see different orders.
pub fn run(server: &Program, config: &Config, progress: &dyn Fn(f64)) -> io::Result<Figures> {
    let mut wire = Wire::new()?;
    let caller = wire.caller(server.address())?;
    let mut run = Run {
        wire,
        caller,
        sender: Sender::new(config.text_bytes),
        tally: Tally::new(config.readers)?,
    };
    // The first message makes the server ready, and its memory a base.
    run.align(0)?;
    let memory = || server.id().map(resident_bytes).transpose();
    let before = memory()?;
    run.wire.read(server.address(), config.readers, SETTLE)?;
    // Only after this are all of them registered, with their threads.
    run.align(config.readers)?;
    let grown = memory()?.zip(before);
    let memory = grown.map(|(now, then)| now.saturating_sub(then));
    let mut figures = run.measure(server, config, progress)?;
    figures.bytes_per_reader = memory.map(|bytes| bytes / config.readers.max(1) as u64);
    Ok(figures)
}

struct Run {
    wire: Wire,
    caller: Caller,
    sender: Sender,
    tally: Tally,
}

impl Run {
    /// Sends one message at a time until so many readers have the same one:
    /// then all are registered, and nothing is on its way.
    fn align(&mut self, readers: usize) -> io::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let request = self.sender.next();
            let (number, mut have, mut answered) = (self.sender.sent, 0, false);
            self.wire.call(self.caller, &request);
            self.wire.flush(self.caller)?;
            let mut waited = Instant::now();
            while !answered || have < readers && waited.elapsed() < ALIGN {
                self.wire
                    .poll(Duration::from_millis(10), |event| match event {
                        Event::Message { message, .. } if number_of(&message) == Some(number) => {
                            have += 1;
                        }
                        Event::Answered { .. } => {
                            answered = true;
                            waited = Instant::now();
                        }
                        _ => {}
                    })?;
                if !answered && Instant::now() > deadline {
                    return Err(super::no_answer("SendMessage"));
                }
            }
            if have >= readers {
                return Ok(());
            }
            if Instant::now() > deadline {
                let what = format!("only {have} of {readers} readers get messages");
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        }
    }

    fn measure(
        &mut self,
        server: &Program,
        config: &Config,
        progress: &dyn Fn(f64),
    ) -> io::Result<Figures> {
        let (started, first) = (Instant::now(), self.sender.sent);
        let (mut answered, mut told, mut last) = (0, started, started);
        let mut stopwatch: Option<Stopwatch> = None;
        loop {
            let sent = self.sender.sent - first;
            let (due, wait) = match config.load {
                Load::InFlight { calls, ahead } => {
                    let free = (calls as u64).saturating_sub(sent - answered);
                    let room = (self.tally.slowest + ahead).saturating_sub(sent);
                    (free.min(room), TIMEOUT)
                }
                Load::Rate(rate) => {
                    let due = (started.elapsed().as_secs_f64() * rate) as u64 + 1;
                    let next = Duration::from_secs_f64(due as f64 / rate);
                    (due - sent, next.saturating_sub(started.elapsed()))
                }
            };
            for _ in 0..due {
                let request = self.sender.next();
                if !self.wire.call(self.caller, &request) {
                    self.sender.sent -= 1;
                    break;
                }
                self.tally.sent(self.sender.sent);
            }
            self.wire.flush(self.caller)?;
            let tally = &mut self.tally;
            self.wire.poll(wait.min(TIMEOUT), |event| {
                last = Instant::now();
                match event {
                    Event::Message { reader, message } => tally.received(reader, &message, last),
                    Event::Answered { .. } => answered += 1,
                    Event::Acknowledged => {}
                }
            })?;
            if let Some(wrong) = self.tally.wrong {
                return Err(io::Error::other(wrong));
            }
            if last.elapsed() > TIMEOUT {
                return Err(super::no_answer("SendMessage, and no delivery"));
            }
            match &stopwatch {
                None if started.elapsed() >= WARM_UP => {
                    (self.tally.deliveries, self.tally.latencies) = (0, Latencies::new()?);
                    stopwatch = Some(Stopwatch::start(server)?);
                }
                Some(stopwatch) if stopwatch.elapsed() >= config.time => {
                    return stopwatch.stop(self.tally.deliveries, self.tally.latencies.clone());
                }
                Some(stopwatch) if told.elapsed() > Duration::from_millis(200) => {
                    told = Instant::now();
                    progress(stopwatch.elapsed().as_secs_f64() / config.time.as_secs_f64());
                }
                _ => {}
            }
        }
    }
}

/// Makes messages that carry their number.
struct Sender {
    sent: u64,
    padding: String,
}

impl Sender {
    fn new(text_bytes: usize) -> Self {
        let padding = "x".repeat(text_bytes.saturating_sub(NUMBER_DIGITS));
        Self { sent: 0, padding }
    }

    fn next(&mut self) -> Vec<u8> {
        self.sent += 1;
        let text = format!("{:0NUMBER_DIGITS$x}{}", self.sent, self.padding);
        wire::request("bench", &text)
    }
}

const NUMBER_DIGITS: usize = 16;

fn number_of(message: &Message) -> Option<u64> {
    u64::from_str_radix(message.text.get(..NUMBER_DIGITS)?, 16).ok()
}

/// Who has what.
struct Tally {
    readers: usize,
    /// How many messages each reader has.
    counts: Vec<u64>,
    /// Messages that every reader has.
    slowest: u64,
    /// From there on, in the one order: a message's number, and how many have it.
    pending: VecDeque<(u64, usize)>,
    /// When each message was sent, from number `first_sent` on.
    sent: VecDeque<Instant>,
    first_sent: u64,
    deliveries: u64,
    latencies: Latencies,
    wrong: Option<&'static str>,
}

impl Tally {
    fn new(readers: usize) -> io::Result<Self> {
        Ok(Self {
            readers,
            counts: vec![0; readers],
            slowest: 0,
            pending: VecDeque::new(),
            sent: VecDeque::new(),
            first_sent: 0,
            deliveries: 0,
            latencies: Latencies::new()?,
            wrong: None,
        })
    }

    fn sent(&mut self, number: u64) {
        if self.sent.is_empty() {
            self.first_sent = number;
        }
        self.sent.push_back(Instant::now());
    }

    fn received(&mut self, reader: usize, message: &Message, now: Instant) {
        let (Some(number), Some(count)) = (number_of(message), self.counts.get_mut(reader)) else {
            self.wrong = Some("a message that nobody sent");
            return;
        };
        let index = (*count - self.slowest) as usize;
        *count += 1;
        self.deliveries += 1;
        if index == self.pending.len() {
            self.pending.push_back((number, 0));
        }
        match self.pending.get_mut(index) {
            Some((expected, have)) if *expected == number => *have += 1,
            _ => self.wrong = Some("two readers see different orders"),
        }
        while let Some(&(number, have)) = self.pending.front()
            && have == self.readers
        {
            self.pending.pop_front();
            self.slowest += 1;
            let sent = number.checked_sub(self.first_sent);
            if let Some(sent) = sent.and_then(|index| self.sent.get(index as usize)) {
                self.latencies.record(now.duration_since(*sent));
            }
            // Calls are answered in almost the order in which they were sent.
            while self.first_sent + SENT_KEPT < number {
                self.sent.pop_front();
                self.first_sent += 1;
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

    fn message(number: u64) -> Message {
        Message {
            author: String::new(),
            text: format!("{number:016x}"),
            send_time: Timestamp::from_nanos(1),
        }
    }

    #[test]
    fn a_delivery_counts_when_the_last_reader_has_it() {
        let mut tally = Tally::new(2).unwrap();
        for number in 5..8 {
            tally.sent(number);
        }
        for (reader, number) in [(0, 6), (0, 5), (1, 6), (0, 7), (1, 5)] {
            tally.received(reader, &message(number), Instant::now());
        }
        assert_eq!((tally.slowest, tally.deliveries, tally.wrong), (2, 5, None));
    }

    #[test]
    fn different_orders_are_noticed() {
        let mut tally = Tally::new(2).unwrap();
        for (reader, number) in [(0, 1), (0, 2), (1, 2)] {
            tally.received(reader, &message(number), Instant::now());
        }
        assert_eq!(tally.wrong, Some("two readers see different orders"));
    }
}
