//! A server that has a fifth of a processor, and ten times the calls that it then
//! carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use messenger::compare::load::process::Program as Measured;
use messenger::compare::load::wire::{Event, Wire};

use super::limit::Limit;
use super::number;
use super::offer::{Clients, Load, Outcome};
use crate::support::programs::Server;
use crate::support::{SOON, heavy};

const SHARE: f64 = 0.2;

fn percentile(latencies: &[Duration], part: f64) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    let at = (sorted.len() as f64 * part) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Readers that take all they get.
struct Readers {
    over: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Readers {
    fn start(address: &str, count: usize) -> Self {
        let mut wire = Wire::new(&Measured::foreign(address)).expect("a connection");
        wire.read(count, SOON).expect("readers");
        let (over, received) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stop, count) = (over.clone(), received.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                wire.poll(Duration::from_millis(20), |event| {
                    if matches!(event, Event::Message { .. }) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .map_err(|error| error.to_string())?;
            }
            Ok(())
        });
        Self {
            over,
            received,
            thread: Some(thread),
        }
    }

    fn end(mut self) -> Result<(), String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .expect("a thread")
            .join()
            .expect("no panic")
    }
}

fn tell(what: &str, outcome: &Outcome, time: Duration) {
    eprintln!(
        "{what}: offered {:.0}/s, late {}",
        outcome.offered as f64 / time.as_secs_f64(),
        outcome.late
    );
    for (status, latencies) in &outcome.ended {
        eprintln!(
            "  status {status}: {:.0}/s p50 {:?} p99 {:?} max {:?}",
            latencies.len() as f64 / time.as_secs_f64(),
            percentile(latencies, 0.5),
            percentile(latencies, 0.99),
            percentile(latencies, 1.0)
        );
    }
}

#[test]
fn ten_times_more_than_it_carries() {
    let _machine = heavy();
    let time = Duration::from_secs_f64(number("MESSENGER_OVERLOAD_SECONDS").unwrap_or(6.0));
    let readers = number("READERS").unwrap_or(50.0) as usize;
    let connections = number("CONNECTIONS").unwrap_or(100.0) as usize;
    let times = number("TIMES").unwrap_or(10.0);
    let more = std::env::var("FLAGS").unwrap_or_default();
    let mut flags = vec!["--memory-limit", "67108864", "--log-level", "warn"];
    flags.extend(more.split_whitespace());
    let server = Server::start(&flags);
    let message = [&[0x0a, 5][..], b"bench", &[0x12, 100], &[b'x'; 100]].concat();
    let crowd = Readers::start(&server.address(), readers);
    let limit = Limit::hold(server.pid(), SHARE);
    eprintln!("limit: {limit}");
    let mut probe = Clients::connect(&server.address(), 16);
    let mut flood = Clients::connect(&server.address(), connections);
    probe.run(Load::InTurn, Duration::from_secs(1), &message);
    let base = Duration::from_secs(3);
    let outcome = probe.run(Load::InTurn, base, &message);
    tell("base", &outcome, base);
    let carried = outcome.answered.len() as f64 / base.as_secs_f64();
    let received = crowd.received.load(Ordering::Relaxed);
    let outcome = flood.run(
        Load::Rate(number("RATE").unwrap_or(times * carried)),
        time,
        &message,
    );
    tell("overload", &outcome, time);
    eprintln!(
        "delivered {:.0}/s, peak {} MiB",
        (crowd.received.load(Ordering::Relaxed) - received) as f64 / time.as_secs_f64(),
        server.peak_bytes() >> 20
    );
    let after = probe.run(Load::InTurn, base, &message);
    tell("after", &after, base);
    for window in 0..15 {
        let (from, to) = (
            Duration::from_millis(200 * window),
            Duration::from_millis(200 * window + 200),
        );
        let count = after
            .answered
            .iter()
            .filter(|at| **at >= from && **at < to)
            .count();
        eprint!("{} ", count * 5);
    }
    eprintln!("\nreaders: {:?}", crowd.end());
    eprintln!("{}", server.log());
    let open: usize = flood.left();
    eprintln!("left {open}");
}
