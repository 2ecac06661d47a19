//! As many streams as the limits allow, each on a connection of its own.

use std::time::{Duration, Instant};

use messenger::compare::load::process::Program as Measured;
use messenger::compare::load::wire::{Event, Wire};
use messenger::fanout::clock::Timestamp;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::support::programs::Server;
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy};

const STREAMS: usize = 10_000;
const MESSAGES: usize = 3;

/// Raises this process's own limit of open files, and returns how many readers
/// it can hold beside the other tests.
fn readers() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    STREAMS.min(
        usize::try_from(files)
            .unwrap_or(STREAMS)
            .saturating_sub(1500),
    )
}

#[test]
fn ten_thousand_streams_get_every_message_in_order_and_end_in_time() {
    let _machine = heavy();
    let count = readers();
    let mut server = Server::start(&[]);
    let mut readers = Wire::new(&Measured::foreign(&server.address())).unwrap();
    readers.read(count, false).unwrap();
    // A thread a stream, which is there once it is registered. The server's pings want an
    // answer meanwhile.
    eventually(4 * SOON, "a thread a stream", || {
        readers.poll(Duration::ZERO, |_| {}).unwrap();
        server.threads_named("read-") == count
    });
    let sender = client(&server.address());
    let sent: Vec<i64> = (0..MESSAGES).map(|_| send(&sender, "a", "b")).collect();
    let mut seen: Vec<Vec<i64>> = vec![Vec::new(); count];
    let (mut received, deadline) = (0, Instant::now() + 4 * SOON);
    while received < count * MESSAGES {
        assert!(Instant::now() < deadline, "{received} deliveries in time");
        let poll = readers.poll(Duration::from_millis(100), |event| {
            if let Event::Message { reader, message } = event {
                seen[reader].push(Timestamp::nanos(message.send_time));
                received += 1;
            }
        });
        poll.unwrap();
    }
    assert!(seen.iter().all(|times| *times == sent));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
}
