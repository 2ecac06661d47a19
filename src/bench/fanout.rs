//! How much a delivery costs: N readers, each on a connection of its own, and a
//! few senders that keep a bounded number of messages under way.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::process::{Program, cpu_time, resident_bytes};
use super::wire_reader::WireReaders;
use crate::domain::clock::Timestamp;
use crate::domain::error::Error;
use crate::grpc::client::{ChatClient, Keepalive, environment};

#[derive(Clone, Debug)]
pub struct Config {
    pub readers: usize,
    pub messages: u64,
    pub text_bytes: usize,
    /// Senders, each with one message under way.
    pub in_flight: usize,
    /// Messages that the slowest reader may be behind.
    pub window: u64,
    /// Further arguments for the server.
    pub server_args: Vec<String>,
}

/// What one run measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub readers: usize,
    pub messages: u64,
    pub text_bytes: usize,
    pub seconds: f64,
    pub deliveries_per_second: f64,
    /// Of the server's process alone.
    pub server_cpu_us_per_delivery: f64,
    /// Of this process, which sends and receives.
    pub load_cpu_us_per_delivery: f64,
    /// What the server's resident memory grew by for each reader, before any
    /// message.
    pub server_bytes_per_reader: u64,
}

const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs once on a server of its own. `progress` is told the number of messages
/// that every reader has.
///
/// # Errors
/// When the server does not start, or a reader loses a message.
pub fn run(config: &Config, progress: &dyn Fn(u64)) -> Result<Report, Box<dyn std::error::Error>> {
    let server = Program::server(0, &config.server_args)?;
    let pid = server.id().ok_or("the server has no process")?;
    let sender = ChatClient::new(environment(), server.address(), Keepalive::default());
    let sender = Arc::new(sender);
    sender.send("bench", "warm-up", TIMEOUT)?;
    let memory_before = resident_bytes(pid)?;
    let mut readers = WireReaders::open(server.address(), config.readers, TIMEOUT)?;
    let memory = resident_bytes(pid)?.saturating_sub(memory_before);
    let cpu_before = (cpu_time(pid)?, cpu_time(std::process::id())?);
    let started = Instant::now();
    let pace = Arc::new(Pace::new(config));
    let mut senders = Vec::new();
    for _ in 0..config.in_flight {
        let (client, pace) = (sender.clone(), pace.clone());
        let text = "x".repeat(config.text_bytes);
        let sender = thread::Builder::new().name("bench-sender".into());
        senders.push(sender.spawn(move || {
            while pace.may_send() {
                client.send("bench", &text, TIMEOUT)?;
            }
            Ok::<(), Error>(())
        })?);
    }
    let read = receive_all(config, &mut readers, &pace, progress);
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (
        cpu_time(pid)?.saturating_sub(cpu_before.0),
        cpu_time(std::process::id())?.saturating_sub(cpu_before.1),
    );
    pace.stop();
    for sender in senders {
        sender.join().map_err(|_| "a sender panicked")??;
    }
    read?;
    let deliveries = config.readers as f64 * config.messages as f64;
    Ok(Report {
        readers: config.readers,
        messages: config.messages,
        text_bytes: config.text_bytes,
        seconds,
        deliveries_per_second: deliveries / seconds,
        server_cpu_us_per_delivery: cpu.0.as_secs_f64() * 1e6 / deliveries,
        load_cpu_us_per_delivery: cpu.1.as_secs_f64() * 1e6 / deliveries,
        server_bytes_per_reader: memory / config.readers.max(1) as u64,
    })
}

/// Receives until every reader has every message, and checks that their times
/// rise.
fn receive_all(
    config: &Config,
    readers: &mut WireReaders,
    pace: &Pace,
    progress: &dyn Fn(u64),
) -> io::Result<()> {
    let mut seen = vec![(0u64, Timestamp::default()); config.readers];
    let (mut in_order, mut slowest) = (true, 0);
    // How many readers have each message that some lack.
    let mut behind: VecDeque<usize> = VecDeque::new();
    let mut told = Instant::now();
    while slowest < config.messages {
        let before = slowest;
        readers.poll(TIMEOUT, |reader, message| {
            let (Some(message), Some((count, last))) = (message, seen.get_mut(reader)) else {
                return;
            };
            in_order &= message.send_time > *last;
            let index = usize::try_from(*count - slowest).unwrap_or_default();
            *count += 1;
            *last = message.send_time;
            if index == behind.len() {
                behind.push_back(0);
            }
            behind[index] += 1;
            while behind.front() == Some(&config.readers) {
                behind.pop_front();
                slowest += 1;
            }
        })?;
        if !in_order {
            return Err(io::Error::other("a reader saw times that do not rise"));
        }
        if slowest > before {
            pace.all_received(slowest);
        }
        if told.elapsed() > Duration::from_millis(200) {
            told = Instant::now();
            progress(slowest);
        }
    }
    Ok(())
}

/// Keeps senders from running away from the slowest reader.
struct Pace {
    messages: u64,
    window: u64,
    sent: AtomicU64,
    /// How many messages every reader has.
    received: Mutex<u64>,
    changed: Condvar,
}

impl Pace {
    fn new(config: &Config) -> Self {
        Self {
            messages: config.messages,
            window: config.window,
            sent: AtomicU64::new(0),
            received: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    /// Blocks until the next message is due; false when there is none.
    fn may_send(&self) -> bool {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = |received: &mut u64| number >= received.saturating_add(self.window);
        drop(self.changed.wait_while(received, ahead));
        number < self.messages
    }

    fn all_received(&self, messages: u64) {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = messages;
        self.changed.notify_all();
    }

    /// Lets every sender end.
    fn stop(&self) {
        self.sent.fetch_max(self.messages, Ordering::Relaxed);
        self.all_received(u64::MAX);
    }
}
