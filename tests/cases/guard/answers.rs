//! Answers that nobody takes, work that nobody waits for, and answers that are
//! none.

use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;

use super::{SEND, code, slowest_percent, text};
use crate::support::h2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, OkToEverything, RST_STREAM, Wire, headers,
};
use crate::support::http::{flush, seen};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Program, Server, free_port};
use crate::support::rpc::{client, connection, send};
use crate::support::{SOON, eventually, heavy};

const MIB: usize = 1 << 20;
const TASKS: &str = "/todo.TodoService/GetTasks";
const ADD: &str = "/todo.TodoService/AddTask";
const UPPER: &str = "/message.MessageService/ProcessMessage";
const LETTER: &str = "/message.MessageService/MostFrequentLetter";

/// A to-do list of about 2 MiB.
fn full_list() -> Program {
    let server = Server::start(&["--memory-limit", &(64 * MIB).to_string()]);
    let mut wire = Wire::open(&server.address());
    for task in 0..2040 {
        wire.whole(2 * task + 1, ADD, &text(&[b'x'; 1024]));
        if task % 100 == 99 {
            wire.flush();
        }
    }
    wire.flush();
    for _ in 0..2040 {
        assert_eq!(wire.ended(SOON).expect("an answer").1, 0);
    }
    server
}

#[test]
fn lists_that_nobody_takes_are_held_once() {
    let _machine = heavy();
    let server = full_list();
    let mut wire = Wire::with_window(&server.address(), 0);
    for call in 0..500 {
        wire.whole(2 * call + 1, TASKS, &[]);
    }
    wire.flush();
    let mut other = Wire::open(&server.address());
    other.whole(1, TASKS, &[]);
    other.flush();
    // The list is longer than the connection's window: the first bytes do.
    let started = Instant::now();
    while other.next(SOON).expect("an answer").kind != DATA {}
    assert!(started.elapsed() < SOON);
    let peak = server.peak_bytes();
    assert!(peak < 64 * MIB * 5 / 4 + 64 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn answers_that_nobody_takes_have_a_bound_in_bytes_over_all() {
    let _machine = heavy();
    let server = Server::start(&["--memory-limit", &(64 * MIB).to_string()]);
    let mut wires: Vec<_> = (0..10)
        .map(|_| Wire::with_window(&server.address(), 0))
        .collect();
    let mut refused = 0;
    for wire in &mut wires {
        for call in 0..30 {
            wire.whole(2 * call + 1, UPPER, &[]);
            wire.flush();
        }
    }
    // What is large is sent over a connection that takes the server's pace.
    let large = text(&[b'x'; 400 * 1024]);
    for wire in &mut wires {
        for call in 100..120 {
            wire.sent_with_windows(2 * call + 1, UPPER, &large);
            if let Some((_, status)) = wire.ended(Duration::from_millis(30)) {
                assert_eq!(status, code(RpcStatusCode::RESOURCE_EXHAUSTED));
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused} of 200 were refused");
    // Small ones pass, and the first that leaves makes room.
    send(&client(&server.address()), "other", "message");
    let peak = server.peak_bytes();
    assert!(peak < 64 * MIB * 5 / 4 + 64 * MIB, "{} MiB", peak / MIB);
    drop(wires);
    eventually(SOON, "room for a large answer", || {
        let mut wire = Wire::open(&server.address());
        wire.sent_with_windows(1, UPPER, &large);
        wire.ended(SOON) == Some((1, 0))
    });
}

#[test]
fn an_answer_that_nobody_takes_is_given_up_after_thirty_seconds() {
    let server = Server::start(&[]);
    let mut wire = Wire::with_window(&server.address(), 0);
    let started = Instant::now();
    wire.sent_with_windows(1, UPPER, &text(&[b'x'; 100 * 1024]));
    while wire.next(SOON).expect("a frame").kind != RST_STREAM {
        assert!(started.elapsed() < Duration::from_secs(40), "it is kept");
    }
    assert!(started.elapsed() >= Duration::from_secs(30));
}

#[test]
fn work_that_is_queued_up_at_the_end_is_refused_and_does_not_hold_it_up() {
    let _machine = heavy();
    let mut server = Server::start(&[]);
    let large = text(&[b'x'; 500 * 1024]);
    let mut wires: Vec<_> = (0..8).map(|_| Wire::open(&server.address())).collect();
    for wire in &mut wires {
        for call in 0..32 {
            wire.sent_with_windows(2 * call + 1, LETTER, &large);
        }
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(Duration::from_millis(4500)), 0);
}

#[test]
fn compressed_requests_are_refused_and_not_inflated() {
    let server = Server::start(&[]);
    let mut wire = Wire::open(&server.address());
    let before = server.peak_bytes();
    let bomb = bomb();
    for call in 0..3 {
        let block = headers(SEND, &[("grpc-encoding", "gzip")]);
        wire.frame(HEADERS, END_HEADERS, 2 * call + 1, &block);
        let length = u32::try_from(bomb.len()).unwrap().to_be_bytes();
        let data = [&[1], length.as_slice(), &bomb].concat();
        for (at, piece) in data.chunks(16_384).enumerate() {
            let last = (at + 1) * 16_384 >= data.len();
            wire.frame(DATA, if last { END_STREAM } else { 0 }, 2 * call + 1, piece);
        }
        wire.flush();
        let unimplemented = code(RpcStatusCode::UNIMPLEMENTED);
        while wire.ended(SOON).expect("a refusal") != (2 * call + 1, unimplemented) {}
    }
    let grown = server.peak_bytes() - before;
    assert!(grown < 16 * MIB, "{} MiB", grown / MIB);
    let slowest = slowest_percent(&server, || true);
    assert!(slowest < SOON);
}

/// gzip of 16 MiB of zeros, as `gzip` writes it, by Python.
fn bomb() -> Vec<u8> {
    let code = "import gzip,sys; sys.stdout.buffer.write(gzip.compress(bytes(1<<24)))";
    let output = std::process::Command::new("python3")
        .args(["-c", code])
        .output();
    let bytes = output.expect("Python").stdout;
    assert!(bytes.len() > 10_000 && bytes.len() < 60_000);
    bytes
}

#[test]
fn an_ok_without_an_answer_is_an_error_and_a_bridge_goes_on() {
    let port = free_port();
    let fake = OkToEverything::start(port);
    let error = connection(&fake.address())
        .check_health("", SOON)
        .expect_err("no answer");
    assert_eq!(error.message, "the server answered OK without a message");
    let sent = client(&fake.address()).send("a", "b", SOON);
    assert_eq!(sent.unwrap_err(), error);
    let bridge = Bridge::start(&fake.address(), &["--connect-wait", "300ms"]);
    let http = bridge.port();
    // It has asked, and more than once.
    fake.wait_for_calls(6);
    drop(fake);
    let server = Server::start_on(port, &[]);
    let client = client(&server.address());
    eventually(SOON, "a message through the bridge", || {
        let time = send(&client, "a", "b");
        flush(http).contains(&seen("a", "b", time))
    });
    assert!(!bridge.log().contains("panicked"), "{}", bridge.log());
}
