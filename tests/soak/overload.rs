//! A server that has a fifth of a processor, and ten times the calls that it carries
//! then. Its clients are outside of the limit.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use grpcio::RpcStatusCode;
use messenger::compare::load::process::Program as Measured;
use messenger::compare::load::wire::{Event, Wire};

use super::limit::Limit;
use super::offer::{Clients, Load, Outcome};
use super::{folder, number};
use crate::support::heavy;
use crate::support::programs::{Program, Server};

/// Of one processor.
const SHARE: f64 = 0.2;

const TIMES: f64 = 10.0;

/// Deliveries are most of the work: a call that is refused costs little beside one that
/// goes to all of them.
const READERS: usize = 300;

/// Connections that send.
const CLIENTS: usize = 100;

/// Bytes.
const MEMORY_LIMIT: usize = 64 << 20;

/// Calls at once beyond the rate.
const BURST: &str = "10";

/// What 99 of 100 refusals take at most.
const QUICK: Duration = Duration::from_millis(500);

/// Over how long it is measured what a server carries.
const MEASURED: Duration = Duration::from_secs(3);

/// A held server, its readers, and clients that send in turn.
struct Stage {
    server: Program,
    limit: Limit,
    readers: Readers,
    probe: Clients,
}

impl Stage {
    /// With a pause after each reader, which is a call of its address too.
    fn start(flags: &[&str], pause: Duration) -> Self {
        let memory = MEMORY_LIMIT.to_string();
        let fixed = ["--memory-limit", &memory, "--log-level", "warn"];
        let server = Server::start(&[&fixed, flags].concat());
        let readers = Readers::start(&server, READERS, pause);
        Self {
            limit: Limit::hold(server.pid(), SHARE),
            probe: Clients::connect(&server.address(), 16),
            readers,
            server,
        }
    }

    /// Offers so many calls a second for so long, and then again what comes in turn.
    fn overload(&mut self, rate: f64, time: Duration) -> [Outcome; 2] {
        let mut flood = Clients::connect(&self.server.address(), CLIENTS);
        let offered = flood.run(Load::Rate(rate), time, &message());
        [offered, self.probe.run(Load::InTurn, MEASURED, &message())]
    }

    fn peak(&self) -> usize {
        self.server.peak_bytes() >> 20
    }
}

/// Readers that take all that they get.
struct Readers {
    over: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Readers {
    fn start(server: &Program, count: usize, pause: Duration) -> Self {
        let measured = Measured::foreign(&server.address());
        let mut wire = Wire::new(&measured).expect("a connection");
        for _ in 0..count {
            wire.read(1, false).expect("a reader");
            thread::sleep(pause);
        }
        server.wait_for_threads("read-", count);
        let (over, received) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stop, count) = (over.clone(), received.clone());
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let polled = wire.poll(Duration::from_millis(20), |event| {
                    let one = matches!(event, Event::Message { .. });
                    count.fetch_add(u64::from(one), Ordering::Relaxed);
                });
                polled.map_err(|error| error.to_string())?;
            }
            Ok(())
        });
        Self {
            over,
            received,
            thread,
        }
    }

    /// How many messages came; an error if a reader was cut.
    fn end(self) -> Result<u64, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")?;
        Ok(self.received.load(Ordering::Relaxed))
    }
}

/// SendMessage with an author and 100 bytes of text.
fn message() -> Vec<u8> {
    [&b"\x0a\x05bench\x12\x64"[..], &[b'x'; 100]].concat()
}

/// The latency that this part of the calls does not exceed.
fn percentile(latencies: &[Duration], part: f64) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    let at = (sorted.len() as f64 * part) as usize;
    let at = at.min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// Rows of a table.
fn rows(what: &str, outcome: &Outcome, time: Duration) -> String {
    let mut out = String::new();
    let rate = |count: usize| count as f64 / time.as_secs_f64();
    let (offered, late) = (rate(outcome.offered), rate(outcome.late));
    let mut row = |end: &str, count: f64, latencies: &[Duration]| {
        let of = |part| percentile(latencies, part).as_millis();
        let (p50, p99, most) = (of(0.5), of(0.99), of(1.0));
        let _ = writeln!(
            out,
            "| {what} | {offered:.0} | {end} | {count:.0} | {p50} | {p99} | {most} |"
        );
    };
    for (status, latencies) in &outcome.ended {
        row(
            &format!("status {status}"),
            rate(latencies.len()),
            latencies,
        );
    }
    row("given up", late, &[]);
    row("connection ended", rate(outcome.lost), &[]);
    out
}

const HEAD: &str = "\
| | offered/s | end | calls/s | p50, ms | p99, ms | most, ms |
|---|---|---|---|---|---|---|
";

/// `make overload`.
#[test]
#[ignore = "takes a minute, and judges times: make overload"]
fn ten_times_more_than_it_carries_is_refused_at_once_where_a_rate_is_set() {
    let _machine = heavy();
    let seconds = number("MESSENGER_OVERLOAD_SECONDS").unwrap_or(60.0);
    let time = Duration::from_secs_f64(seconds);

    // Without a rate, everything is served in turn.
    let mut stage = Stage::start(&[], Duration::ZERO);
    stage.probe.run(Load::InTurn, MEASURED / 3, &message());
    let base = stage.probe.run(Load::InTurn, MEASURED, &message());
    let carried = base.answered.len() as f64 / MEASURED.as_secs_f64();
    let mut table = format!("{HEAD}{}", rows("carried", &base, MEASURED));
    let [offered, after] = stage.overload(TIMES * carried, time.min(MEASURED * 5));
    table += &rows("without a rate", &offered, time.min(MEASURED * 5));
    table += &rows("afterwards", &after, MEASURED);
    let without = stage.peak();
    let limit = stage.limit.to_string();
    drop(stage);

    // An eighth of what it carries leaves time to refuse the others.
    let rate = (carried / 8.0).max(1.0).floor();
    let flag = format!("{rate}/s");
    let pause = Duration::from_secs_f64(1.0 / rate);
    let mut stage = Stage::start(&["--rate", &flag, "--rate-burst", BURST], pause);
    let [offered, after] = stage.overload(TIMES * carried, time);
    table += &rows("with a rate", &offered, time);
    table += &rows("afterwards", &after, MEASURED);
    let with = stage.peak();
    let received = stage.readers.end();
    let _ = writeln!(
        table,
        "\nHeld by {limit}; {READERS} readers, {CLIENTS} connections, a rate of {flag}. \
         Peak memory {without} MiB without and {with} MiB with a rate; readers: {received:?}."
    );
    eprintln!("{table}");
    fs::write(folder().join("overload.md"), &table).expect("a file");

    assert!(without.max(with) < 2 * (MEMORY_LIMIT >> 20), "{with} MiB");
    assert!(received.expect("no reader is cut") > 0);
    let exhausted = i32::from(RpcStatusCode::RESOURCE_EXHAUSTED).cast_unsigned();
    let others = offered
        .ended
        .keys()
        .find(|it| ![0, exhausted].contains(*it));
    assert_eq!(others, None, "accepted or refused");
    let refused = offered.ended.get(&exhausted).expect("refusals");
    assert!(refused.len() > offered.offered / 2, "{}", refused.len());
    let slow = percentile(refused, 0.99);
    assert!(slow < QUICK, "a refusal takes {slow:?}");
    let second = Duration::from_secs(1)..Duration::from_secs(2);
    let speed = after.answered.iter().filter(|at| second.contains(*at));
    let speed = speed.count() as f64;
    assert!(speed > 0.7 * rate, "{speed}/s after a second, of {rate}/s");
}
