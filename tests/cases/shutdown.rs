//! The end of a server: everybody is told, and it takes less than five seconds,
//! every time.

use std::time::Duration;

use messenger::chat::wire;
use messenger::error::{Code, Error};
use messenger::status;

use crate::support::process::Signal;
use crate::support::programs::{Server, tail};
use crate::support::rpc::{Crowd, Reader, client, open, raw, send, subscribe};
use crate::support::{SOON, eventually, heavy};

const BOUND: Duration = Duration::from_secs(5);

fn told() -> Error {
    Error::unavailable("shutting down")
}

/// One server, one crowd, one end.
fn round(connections: usize, streams: usize) {
    let mut server = Server::start(&["--log-level", "warn"]);
    let crowd = Crowd::open(&server.address(), connections, streams);
    server.signal(Signal::TERM);
    let code = server.wait_exit(BOUND);
    assert_eq!((code, server.log().as_str()), (0, ""));
    let ends = crowd.ends(SOON);
    assert_eq!(ends.len(), connections * streams);
    for end in ends {
        assert_eq!(end, told());
    }
}

#[test]
fn every_reader_is_told_in_three_hundred_shutdowns() {
    let _machine = heavy();
    for number in 0..300 {
        round(1 + number % 3, 1 + number % 5);
    }
}

#[test]
fn every_one_of_a_thousand_readers_is_told_in_thirty_shutdowns() {
    let _machine = heavy();
    for _ in 0..30 {
        round(10, 100);
    }
}

#[test]
fn both_signals_end_the_server_and_every_client_is_told() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut server = Server::start(&[]);
        let readers = [
            Reader::start(&server.address()),
            Reader::start(&server.address()),
        ];
        let mut process = tail(&server.address(), &["--reconnect", "0"]);
        let time = send(&client(&server.address()), "a", "b");
        server.signal(signal);
        assert_eq!(server.wait_exit(BOUND), 0, "{signal:?}");
        for reader in readers {
            assert_eq!(reader.next().send_time.nanos(), time);
            assert_eq!(reader.end(SOON), (0, told()));
        }
        assert_eq!(process.wait_exit(SOON), 1);
        assert!(process.log().contains("shutting down"), "{}", process.log());
    }
}

#[test]
fn what_was_accepted_before_the_end_reaches_the_readers() {
    let _machine = heavy();
    for _ in 0..20 {
        let mut server = Server::start(&[]);
        let readers: Vec<_> = (0..10).map(|_| Reader::start(&server.address())).collect();
        let sender = client(&server.address());
        let times: Vec<_> = (0..200).map(|_| send(&sender, "a", "b")).collect();
        server.signal(Signal::TERM);
        for reader in &readers {
            for time in &times {
                assert_eq!(reader.next().send_time.nanos(), *time);
            }
            assert_eq!(reader.end(SOON), (0, told()));
        }
        assert_eq!(server.wait_exit(BOUND), 0);
    }
}

#[test]
fn the_last_message_goes_out_before_the_status_whatever_the_client_makes_of_it() {
    let _machine = heavy();
    for _ in 0..50 {
        let mut server = Server::start(&[]);
        let connection = raw(&server.address());
        let mut streams = [
            open(&server, &connection),
            open(&server, &connection),
            open(&server, &raw(&server.address())),
        ];
        let time = send(&client(&server.address()), "a", "b");
        server.signal(Signal::TERM);
        for stream in &mut streams {
            let message = wire::message(stream.wait().expect("the message"));
            assert_eq!(message.send_time.nanos(), time);
            assert_eq!(status::from_grpc(&stream.wait().unwrap_err()), told());
        }
        assert_eq!(server.wait_exit(BOUND), 0);
    }
}

#[test]
fn under_load_senders_get_their_time_or_an_error_and_readers_every_answered_message() {
    let _machine = heavy();
    for _ in 0..10 {
        let mut server = Server::start(&[]);
        let reader = Reader::start(&server.address());
        let address = server.address();
        let (first, started) = crossbeam_channel::bounded(1);
        let sender = std::thread::spawn(move || {
            let sender = client(&address);
            let mut answered = 0;
            loop {
                match sender.send("a", "b", SOON) {
                    Ok(_) => answered += 1,
                    Err(error) => return (answered, error),
                }
                let _ = first.try_send(());
            }
        });
        started.recv_timeout(SOON).unwrap();
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(BOUND), 0);
        let (answered, error) = sender.join().unwrap();
        assert_eq!(error.code, Code::Unavailable, "{error}");
        let (received, end) = reader.end(SOON);
        assert_eq!(end, told());
        assert!(
            received >= answered,
            "{received} of {answered} messages came"
        );
    }
}

#[test]
fn a_reader_that_does_not_read_does_not_hold_up_the_end() {
    // More than the flow-control window, less than the backlog that is allowed.
    let mut server = Server::start(&[]);
    let lazy = client(&server.address());
    let _stream = subscribe(&lazy).unwrap();
    let reader = Reader::start(&server.address());
    let sender = client(&server.address());
    let text = "x".repeat(64 * 1024);
    for _ in 0..80 {
        send(&sender, "a", &text);
        reader.next();
    }
    assert_eq!(server.threads_named("subscribe-"), 2, "it is not cut");
    server.signal(Signal::TERM);
    assert_eq!(reader.end(BOUND), (0, told()));
    assert_eq!(server.wait_exit(BOUND), 0);
}

#[test]
fn a_stopped_and_a_cut_reader_do_not_hold_up_the_end() {
    let mut server = Server::start(&["--backlog-bytes", "1048576"]);
    let stopped = tail(&server.address(), &[]);
    stopped.stop();
    let sender = client(&server.address());
    let text = "x".repeat(64 * 1024);
    eventually(SOON, "the stopped reader is cut", || {
        send(&sender, "a", &text);
        server.threads_named("subscribe-") == 0
    });
    let idle = tail(&server.address(), &[]);
    idle.stop();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(BOUND), 0);
}

#[test]
fn a_second_signal_ends_a_server_that_waits_at_once() {
    let mut server = Server::start(&[]);
    let stopped = tail(&server.address(), &[]);
    let sender = client(&server.address());
    stopped.stop();
    let text = "x".repeat(64 * 1024);
    for _ in 0..80 {
        send(&sender, "a", &text);
    }
    server.signal(Signal::TERM);
    server.wait_for_log(SOON, "shutting down");
    server.signal(Signal::TERM);
    let code = server.wait_exit(Duration::from_secs(2));
    // Or the first one was done already.
    assert!(code == 130 || code == 0, "{code}");
}

#[test]
fn idle_servers_and_servers_without_readers_end_too() {
    for _ in 0..20 {
        let mut server = Server::start(&[]);
        let idle = client(&server.address());
        send(&idle, "a", "b");
        server.signal(Signal::INT);
        assert_eq!(server.wait_exit(BOUND), 0);
    }
}
