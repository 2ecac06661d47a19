//! The front in the real program, where a fault ends the process, and where the
//! limits of the process are its own.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::process::{Process, Signal, command};
use crate::support::{SOON, eventually, heavy};

use super::{Peer, ask, post};

const FLUSH: &[u8] = b"POST /getAndFlushMessages HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A bridge that finds no server, and opens its port all the same.
fn bridge(variables: &[(&str, &str)], limit: &str) -> (Process, SocketAddr) {
    let mut command = command("sh");
    command.args(["-c", &format!("{limit} exec \"$0\" \"$@\"")]);
    command.args([env!("CARGO_BIN_EXE_messenger"), "client"]);
    command.args(["--server", "127.0.0.1:1", "--connect-wait", "100ms"]);
    command.args(["--host", "127.0.0.1", "--http-port", "0"]);
    command.envs(variables.iter().copied());
    let process = Process::spawn(command);
    let line = process.line(SOON).unwrap_or_default();
    let address = line.strip_prefix("messenger client listening on http://");
    let address = address.and_then(|address| address.parse().ok());
    let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
    (process, address)
}

#[test]
fn a_length_or_a_header_beyond_all_memory_costs_the_program_nothing() {
    let (mut program, address) = bridge(&[], "");
    assert_eq!(ask(address, FLUSH).status, 200);
    let before = program.peak_bytes();
    for length in [
        "200000000000",
        "9223372036854775808",
        "18446744073709551616",
    ] {
        let request = post(&format!("Content-Length: {length}\r\n"), "");
        assert_eq!(ask(address, &request).status, 413, "{length}");
    }
    for start in [&b"GET /"[..], b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let peer = Peer::connect(address);
        peer.send(start);
        let piece = vec![b'a'; 1 << 20];
        let _ = (0..64).try_for_each(|_| peer.stream().write_all(&piece));
    }
    // A body that is announced within the limit takes memory only as it comes.
    let announced = post("Content-Length: 524288\r\n", "");
    let peers: Vec<_> = (0..100)
        .map(|_| {
            let peer = Peer::connect(address);
            peer.send(&announced);
            peer
        })
        .collect();
    assert_eq!(ask(address, FLUSH).status, 200);
    assert!(program.is_alive());
    let grown = program.peak_bytes() - before;
    assert!(grown < 24 << 20, "{grown} bytes more");
    drop(peers);
}

#[test]
fn a_program_that_runs_out_of_descriptors_keeps_its_listener() {
    let (mut program, address) = bridge(&[], "ulimit -n 64;");
    let mut first = Peer::connect(address);
    first.send(FLUSH);
    assert_eq!(first.answer().status, 200);
    // Beyond its 64 they queue up in the kernel.
    let peers: Vec<_> = (0..100).map(|_| Peer::connect(address)).collect();
    program.wait_for_log(SOON, "cannot accept connections, still trying");
    // Whoever is in is served.
    for _ in 0..10 {
        first.send(FLUSH);
        assert_eq!(first.answer().status, 200);
    }
    // One that waits gets its turn when another leaves.
    drop(peers);
    for _ in 0..20 {
        assert_eq!(ask(address, FLUSH).status, 200);
    }
    assert!(program.is_alive());
    let warnings = program.log().matches("cannot accept").count();
    assert!(warnings < 5, "{warnings} warnings: told again and again");
}

#[test]
fn the_threads_have_names_and_the_lanes_leave_nothing_behind_even_when_killed() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than the path of a socket may be.
    let long = folder.path().join("x".repeat(150));
    std::fs::create_dir(&long).unwrap();
    let (mut program, address) = bridge(&[("TMPDIR", long.to_str().unwrap())], "");
    let mut peer = Peer::connect(address);
    peer.send(FLUSH);
    assert_eq!(peer.answer().status, 200);
    for name in ["http-accept", "http-loop", "http-tiny", "http-conn-1"] {
        assert!(program.threads_named(name) > 0, "no thread {name}");
    }
    program.signal(Signal::KILL);
    program.wait_exit(SOON);
    assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
}

#[test]
fn a_folder_for_temporary_files_that_is_not_there_is_named() {
    let mut command = command(env!("CARGO_BIN_EXE_messenger"));
    command.args(["client", "--connect-wait", "0s", "--http-port", "0"]);
    command.env("TMPDIR", "/nowhere/at/all");
    let mut process = Process::spawn(command);
    assert_eq!(process.wait_exit(SOON), 1);
    let log = process.log();
    assert!(log.contains("/nowhere/at/all"), "{log}");
}

/// A generator that gives the same numbers in every run.
struct Mutations(fastrand::Rng);

impl Mutations {
    const GOOD: [&[u8]; 5] = [
        b"POST /sendMessage HTTP/1.1\r\nHost: localhost\r\nContent-Length: 27\r\n\r\n{\"author\":\"a\",\"text\":\"text\"}",
        b"POST /getAndFlushMessages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
        b"GET http://localhost/?q HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n",
        b"HEAD / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    ];
    const BITS: [&[u8]; 13] = [
        b"\r",
        b"\n",
        b"\0",
        b":",
        b" ",
        b"\xff\xfe",
        b"99999999999999999999",
        b"-1",
        b"chunked",
        b"Content-Length: 7\r\n",
        b"\r\n\r\n",
        b"\r\n ",
        b"HTTP/9.9",
    ];

    /// A good request with one to four mistakes.
    fn next(&mut self) -> Vec<u8> {
        let Self(random) = self;
        let mut bytes = Self::GOOD[random.usize(..Self::GOOD.len())].to_vec();
        for _ in 0..random.usize(1..=4) {
            let at = random.usize(..bytes.len());
            match random.usize(..4) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                2 => {
                    let bit = Self::BITS[random.usize(..Self::BITS.len())];
                    bytes.splice(at..at, bit.iter().copied());
                }
                _ => bytes.truncate(at + 1),
            }
            if bytes.is_empty() {
                bytes.push(b'\r');
            }
        }
        bytes
    }
}

/// Sends a hundred bad requests; returns how long a good one takes after that.
fn good_after_bad(address: SocketAddr, seed: u64) -> Duration {
    let mut mutations = Mutations(fastrand::Rng::with_seed(seed));
    let mut unfinished = Vec::new();
    for n in 0..100 {
        let bytes = mutations.next();
        let mut peer = Peer::connect(address);
        // It may be refused before its end.
        let _ = peer.stream().write_all(&bytes);
        if n % 3 == 0 {
            unfinished.push(peer);
            continue;
        }
        let _ = peer.stream().shutdown(std::net::Shutdown::Write);
        let mut answers = Vec::new();
        let read = peer.0.read_to_end(&mut answers);
        let answers = String::from_utf8_lossy(&answers);
        let sound = answers.is_empty() || answers.starts_with("HTTP/1.1 ");
        let broken = ["500", "502", "504"].map(|status| format!("HTTP/1.1 {status} "));
        let broken = broken.iter().any(|status| answers.contains(status));
        let timeout = read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        let request = bytes.escape_ascii();
        assert!(sound && !broken && !timeout, "{request} -> {answers}");
    }
    let begun = Instant::now();
    let mut peer = Peer::connect(address);
    peer.send(FLUSH);
    let reply = peer.answer();
    let took = begun.elapsed();
    assert_eq!((reply.status, reply.text()), (200, "[]"), "seed {seed}");
    took
}

#[test]
fn ten_thousand_bad_requests_delay_no_good_one_by_100_ms() {
    const PROMISE: Duration = Duration::from_millis(100);
    let _machine = heavy();
    let (mut program, address) = bridge(&[], "");
    let before = program.peak_bytes();
    let mut worst = Duration::ZERO;
    for seed in 0..100 {
        // The same bytes again and again: a delay that is the front's own comes
        // back, one that is another test's does not.
        let tries = (0..5).map(|_| good_after_bad(address, seed));
        let Some(took) = tries.into_iter().find(|took| *took < PROMISE) else {
            panic!("no good request under {PROMISE:?} after the bad ones of {seed}");
        };
        worst = worst.max(took);
        assert!(program.is_alive());
    }
    println!("worst good request: {worst:?}");
    eventually(SOON, "every connection has ended", || {
        program.threads_named("http-conn-") == 0
    });
    let grown = program.peak_bytes() - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
}
