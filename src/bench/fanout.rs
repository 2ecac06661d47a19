//! How much a delivery costs: N readers, each on a connection of its own, and a
//! few senders that keep a bounded number of messages under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::process::{ServerProcess, cpu_time, resident_bytes};
use crate::domain::error::{Code, Error};
use crate::grpc::client::{ChatClient, ChatStream, Keepalive};
use crate::grpc::server::environment;

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
    let server = ServerProcess::start(&config.server_args)?;
    let environment = environment(2);
    let client = || {
        let environment = environment.clone();
        ChatClient::new(environment, &server.address(), Keepalive::default())
    };
    let sender = Arc::new(client());
    sender.send("bench", "warm-up", TIMEOUT)?;
    let memory_before = resident_bytes(server.id())?;
    let pace = Arc::new(Pace::new(config));
    let mut readers = Vec::new();
    for _ in 0..config.readers {
        let client = client();
        let (stream, _) = client.subscribe(TIMEOUT, Duration::ZERO)?;
        let (pace, messages) = (pace.clone(), config.messages);
        let reader = thread::Builder::new().name("bench-reader".into());
        readers.push(reader.stack_size(128 * 1024).spawn(move || {
            let result = read(stream, messages, &pace);
            // The connection ends only when the last reader is done.
            (client, result)
        })?);
    }
    let memory = resident_bytes(server.id())?.saturating_sub(memory_before);
    let cpu_before = (cpu_time(server.id())?, cpu_time(std::process::id())?);
    let started = Instant::now();
    let text: Arc<str> = "x".repeat(config.text_bytes).into();
    let mut senders = Vec::new();
    for _ in 0..config.in_flight {
        let (client, pace, text) = (sender.clone(), pace.clone(), text.clone());
        let sender = thread::Builder::new().name("bench-sender".into());
        senders.push(sender.spawn(move || {
            while pace.may_send() {
                client.send("bench", &text, TIMEOUT)?;
            }
            Ok::<(), Error>(())
        })?);
    }
    while !pace.wait(Duration::from_millis(200)) {
        progress(pace.slowest());
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (
        cpu_time(server.id())?.saturating_sub(cpu_before.0),
        cpu_time(std::process::id())?.saturating_sub(cpu_before.1),
    );
    for sender in senders {
        sender.join().map_err(|_| "a sender panicked")??;
    }
    for reader in readers {
        let (_client, result) = reader.join().map_err(|_| "a reader panicked")?;
        result?;
    }
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

/// Reads all messages, and checks that their times rise.
fn read(mut stream: ChatStream, messages: u64, pace: &Pace) -> Result<(), Error> {
    let mut last = None;
    for number in 1..=messages {
        let message = stream.recv().inspect_err(|_| pace.fail())?;
        if last.is_some_and(|last| message.send_time <= last) {
            pace.fail();
            return Err(Error::new(
                Code::DataLoss,
                "a reader saw times that do not rise",
            ));
        }
        last = Some(message.send_time);
        pace.received(number);
    }
    Ok(())
}

/// Keeps senders from running away from the slowest reader.
struct Pace {
    messages: u64,
    window: u64,
    readers: u64,
    sent: AtomicU64,
    /// How many readers have reached each multiple of a quarter of the window.
    marks: Mutex<Marks>,
    changed: Condvar,
}

struct Marks {
    reached: Vec<u64>,
    slowest: u64,
    failed: bool,
}

impl Pace {
    fn new(config: &Config) -> Self {
        let step = (config.window / 4).max(1);
        let marks = Marks {
            reached: vec![0; usize::try_from(config.messages / step + 2).unwrap_or(2)],
            slowest: 0,
            failed: false,
        };
        Self {
            messages: config.messages,
            window: config.window,
            readers: config.readers as u64,
            sent: AtomicU64::new(0),
            marks: Mutex::new(marks),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the next message is due; false when there is none.
    fn may_send(&self) -> bool {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        if number >= self.messages {
            return false;
        }
        let ahead = |marks: &mut Marks| !marks.failed && number >= marks.slowest + self.window;
        let marks = self.changed.wait_while(self.lock(), ahead);
        !marks.unwrap_or_else(PoisonError::into_inner).failed
    }

    fn received(&self, number: u64) {
        // Only marks are counted under the lock, not every message.
        let step = (self.window / 4).max(1);
        if !number.is_multiple_of(step) && number != self.messages {
            return;
        }
        let mut marks = self.lock();
        let index = usize::try_from(number.div_ceil(step)).unwrap_or(usize::MAX);
        if let Some(reached) = marks.reached.get_mut(index) {
            *reached += 1;
            if *reached == self.readers {
                marks.slowest = marks.slowest.max(number);
                self.changed.notify_all();
            }
        }
    }

    fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }

    fn slowest(&self) -> u64 {
        self.lock().slowest
    }

    /// Waits until every reader has everything, or one has failed; false after
    /// the timeout.
    fn wait(&self, timeout: Duration) -> bool {
        let unfinished = |marks: &mut Marks| !marks.failed && marks.slowest < self.messages;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, unfinished);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
