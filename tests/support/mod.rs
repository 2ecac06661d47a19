//! What the cases share: processes as owned values, clients, and waiting for
//! events with a deadline.

pub mod browser;
pub mod certificates;
pub mod clock;
pub mod events;
pub mod feed;
pub mod h2;
pub mod haproxy;
pub mod history;
pub mod http;
pub mod jobs;
pub mod lossy;
pub mod metrics;
pub mod nodes;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod rabbitmq;
pub mod rpc;
pub mod standby;
pub mod tab;
pub mod terminal;
pub mod tls;
pub mod tokens;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should take no time at all: generous, since
/// other tests run on the same two cores.
pub const SOON: Duration = Duration::from_secs(15);

/// Held by tests that need the machine: one of them at a time.
pub fn heavy() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails a test that needs something from outside which is not there, and tells
/// which command provides it. Everything of the kind is asked for here, so that
/// `make test-quick` finds out whoever does not belong to it on any machine.
pub fn need(what: &str, is_there: bool) {
    assert!(
        std::env::var_os("MESSENGER_TEST_QUICK").is_none(),
        "this test needs {what}: its module does not belong into QUICK in the Makefile"
    );
    if !is_there {
        missing(what);
    }
}

pub fn missing(what: &str) -> ! {
    panic!("no {what}: run `docker/install.sh tests` or `make test`");
}

/// Asks again and again until `condition` holds. Panics at the deadline; returns
/// how long it took.
pub fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition() {
        let waited = started.elapsed();
        assert!(waited < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(3));
    }
    started.elapsed()
}

/// The number of nanoseconds since 1970 that a time in RFC 3339 stands for.
pub fn nanos(time: &str) -> i64 {
    let time = chrono::DateTime::parse_from_rfc3339(time)
        .unwrap_or_else(|e| panic!("{time:?} is no time: {e}"));
    time.timestamp_nanos_opt().expect("a year before 2262")
}
