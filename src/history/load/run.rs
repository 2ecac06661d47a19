//! Workers that send messages to the replicas of one log, each one request after
//! the other, and check every answer. A thread for each worker.

use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::check::{Book, Violations};
use crate::access::Bearer;
use crate::http::client::Client;
use crate::key::IDEMPOTENCY_KEY;
use crate::latency::Latencies;
use crate::retry::Retry;
use crate::sync::{lock, unpoisoned};
use crate::tls;

/// How often a message is sent at most, and the first and the longest wait between.
const TRIES: usize = 4;
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Who the messages are from.
const SENDERS: [&str; 10] = [
    "anna",
    "boris",
    "chloé",
    "dmitri",
    "eva",
    "филипп",
    "grace",
    "hugo",
    "ines",
    "jan",
];

#[derive(Clone, Debug)]
pub struct Config {
    /// host:port of each replica; each request goes to one at random.
    pub replicas: Vec<String>,
    /// Without it, plain HTTP.
    pub tls: Option<tls::Client>,
    /// The token of each request.
    pub token: Option<Bearer>,
    pub workers: usize,
    /// Of each worker, one after the other.
    pub requests: usize,
    /// Each message has a key, and is sent again by it after an error.
    pub again: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub time: Duration,
    /// Of the requests that were answered with 200.
    pub latencies: Latencies,
    /// In the order of the addresses.
    pub replicas: Vec<Replica>,
    pub violations: Violations,
    /// The messages that were answered with 200.
    pub answered: Vec<Answered>,
}

#[derive(Clone, Debug)]
pub struct Replica {
    pub address: String,
    /// Answered with 200.
    pub requests: u64,
    /// Of those that were sent again, too.
    pub errors: u64,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answered {
    pub number: i64,
    pub sender: &'static str,
    pub text: String,
    pub latency: Duration,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.answered.len() as f64 / self.time.as_secs_f64()
    }
}

/// Runs the load; `progress` is called with the number of requests that are
/// done, from any thread.
///
/// # Errors
/// No replica, or no threads to be had. Requests that fail are counted.
pub fn run(config: &Config, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Outcome> {
    if config.replicas.is_empty() {
        return Err(io::Error::other("no replica to send to"));
    }
    let replica = |address: &String| Replica {
        address: address.clone(),
        requests: 0,
        errors: 0,
        last_error: None,
    };
    let shared = Mutex::new(Shared {
        book: Book::default(),
        replicas: config.replicas.iter().map(replica).collect(),
        answered: Vec::new(),
        done: 0,
    });
    // Distinguishes this run's messages from those of other runs.
    let run = fastrand::u32(..);
    let started = Instant::now();
    thread::scope(|scope| {
        for worker in 0..config.workers {
            let name = format!("{run:08x}-{worker}");
            let shared = &shared;
            thread::Builder::new()
                .name(format!("load-{worker}"))
                .stack_size(256 * 1024)
                .spawn_scoped(scope, move || work(config, &name, shared, progress))?;
        }
        Ok::<_, io::Error>(())
    })?;
    let time = started.elapsed();
    let shared = unpoisoned(shared.into_inner());
    let mut latencies = Latencies::new()?;
    for answered in &shared.answered {
        latencies.record(answered.latency);
    }
    Ok(Outcome {
        time,
        latencies,
        replicas: shared.replicas,
        violations: shared.book.close(),
        answered: shared.answered,
    })
}

struct Shared {
    book: Book,
    replicas: Vec<Replica>,
    answered: Vec<Answered>,
    done: u64,
}

fn work(config: &Config, name: &str, shared: &Mutex<Shared>, progress: &(dyn Fn(u64) + Sync)) {
    let replicas = config.replicas.iter();
    let client = |address: &String| {
        let token = config.token.as_ref().map(|token| (*token.header()).clone());
        Client::new(address, config.tls.as_ref()).with_authorization(token)
    };
    let mut clients: Vec<_> = replicas.map(client).collect();
    for request in 0..config.requests {
        let sender = SENDERS[fastrand::usize(..SENDERS.len())];
        let text = format!("{name}-{request}");
        let body = json!({ "sender": sender, "text": text }).to_string();
        let key = format!("{IDEMPOTENCY_KEY}: {text}\r\n");
        let (lines, tries) = if config.again {
            (&*key, TRIES)
        } else {
            ("", 1)
        };
        let mut retry = Retry::new(WAITS.0, WAITS.1);
        let first = fastrand::usize(..clients.len());
        for nth in 0..tries {
            let replica = (first + nth) % clients.len();
            let sent = Instant::now();
            let answer = clients[replica].post_with("/", lines, &body);
            let latency = sent.elapsed();
            let mut guard = lock(shared);
            let shared = &mut *guard;
            let row = &mut shared.replicas[replica];
            let error = match answer {
                Ok(answer) => {
                    row.requests += 1;
                    let number = shared.book.answer(sender, &text, &answer);
                    shared.answered.extend(number.map(|number| Answered {
                        number,
                        sender,
                        text: text.clone(),
                        latency,
                    }));
                    break;
                }
                Err(error) => error,
            };
            row.errors += 1;
            row.last_error = Some(error.to_string());
            if nth + 1 == tries || error.kind() == io::ErrorKind::InvalidInput {
                break;
            }
            drop(guard);
            thread::sleep(retry.next_wait());
        }
        let mut shared = lock(shared);
        shared.done += 1;
        progress(shared.done);
    }
}
