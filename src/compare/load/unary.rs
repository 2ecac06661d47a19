//! How much a SendMessage call costs when nobody reads: one connection with a
//! fixed number of calls in flight.

use std::io;
use std::time::{Duration, Instant};

use super::figures::{Figures, Stopwatch};
use super::process::Program;
use super::wire::{Event, Wire};
use super::{TIMEOUT, WARM_UP};
use crate::chat::wire;
use crate::latency::Latencies;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub in_flight: usize,
    pub text_bytes: usize,
    /// How long to measure, after a short warm-up.
    pub time: Duration,
}

/// One call.
///
/// # Errors
/// When it is refused or not answered in time.
pub fn once(address: &str) -> io::Result<()> {
    let mut wire = Wire::new()?;
    let caller = wire.caller(address)?;
    wire.call(caller, &wire::request("bench", ""));
    wire.flush(caller)?;
    let (sent, mut answered) = (Instant::now(), false);
    while !answered {
        wire.poll(TIMEOUT, |event| {
            answered |= matches!(event, Event::Answered { .. });
        })?;
        if sent.elapsed() > TIMEOUT {
            return Err(super::no_answer("SendMessage"));
        }
    }
    Ok(())
}

/// Measures a server that is running.
///
/// # Errors
/// When a call is refused or not answered in time.
pub fn run(server: &Program, config: &Config) -> io::Result<Figures> {
    let mut wire = Wire::new()?;
    let caller = wire.caller(server.address())?;
    let request = wire::request("bench", &"x".repeat(config.text_bytes));
    let (mut free, mut calls) = (config.in_flight, 0);
    let mut latencies = Latencies::new()?;
    let mut stopwatch: Option<Stopwatch> = None;
    let (started, mut last) = (Instant::now(), Instant::now());
    loop {
        while free > 0 && wire.call(caller, &request) {
            free -= 1;
        }
        wire.flush(caller)?;
        wire.poll(TIMEOUT, |event| {
            if let Event::Answered { latency } = event {
                free += 1;
                calls += 1;
                latencies.record(latency);
                last = Instant::now();
            }
        })?;
        match &stopwatch {
            None if started.elapsed() >= WARM_UP => {
                (calls, latencies) = (0, Latencies::new()?);
                stopwatch = Some(Stopwatch::start(server)?);
            }
            Some(stopwatch) if stopwatch.elapsed() >= config.time => {
                return stopwatch.stop(calls, latencies);
            }
            _ => {}
        }
        if last.elapsed() > TIMEOUT {
            return Err(super::no_answer("SendMessage"));
        }
    }
}
