//! `--drain`: not ready, no new streams, open ones end one by one, and requests are
//! answered until the end.

use std::io::{BufRead as _, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use grpcio::RpcStatusCode;
use messenger::error::Error;
use messenger::grpc::health::wire::Status;

use super::{next, readyz, ticker, verbose, watch};
use crate::support::events::Events;
use crate::support::http::{flush, post, request, send as post_message};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Console, Log, Server};
use crate::support::rpc::{Crowd, client, raw, send, subscribe};
use crate::support::{SOON, heavy};

fn told() -> Error {
    Error::unavailable("shutting down")
}

/// Whether no second has more than twice the mean, and each has some.
fn is_spread(ends: &[Instant], since: Instant, seconds: usize) -> bool {
    let mut counts = vec![0; seconds];
    for end in ends {
        let second = end.duration_since(since).as_secs() as usize;
        counts[second.min(seconds - 1)] += 1;
    }
    let mean = ends.len() / seconds;
    let spread = counts.iter().all(|count| (1..=2 * mean).contains(count));
    if !spread {
        eprintln!("ends in each second: {counts:?}");
    }
    spread
}

/// A machine that stands still for a second may spoil one round, but not all.
fn assert_in_some_round(round: impl Fn() -> bool) {
    let _machine = heavy();
    assert!((0..3).any(|_| round()), "in no round");
}

#[test]
fn a_server_that_drains_ends_its_streams_one_by_one_and_answers_calls() {
    let flags = [
        "--drain",
        "5s",
        "--metrics-port",
        "0",
        "--log-level",
        "warn",
    ];
    let mut server = Server::start(&flags);
    let address = server.address();
    let metrics = server.metrics_port();
    let crowd = Crowd::open(&address, 3, 100);
    let (_requests, quotes) = ticker(&address);
    let watcher = raw(&address);
    let mut watch = watch(&watcher);
    assert_eq!(next(&mut watch), Ok(Status::SERVING));
    let sender = client(&address);
    send(&sender, "a", "b");
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(next(&mut watch), Ok(Status::NOT_SERVING));
    assert_eq!(subscribe(&client(&address)).map(drop), Err(told()));
    assert_eq!(readyz(metrics).status, 503);
    assert_eq!(verbose(metrics).1[1], "[-]drain failed: about to shut down");
    // Whoever asks now is told so too, and may go on asking.
    assert_eq!(next(&mut super::watch(&watcher)), Ok(Status::NOT_SERVING));
    while since.elapsed() < Duration::from_secs(4) {
        send(&sender, "a", "during the drain");
        thread::sleep(Duration::from_millis(20));
    }
    let ends = crowd.timed_ends(SOON);
    assert!(ends.iter().all(|(_, end)| *end == told()));
    assert_eq!(quotes.rest(SOON).1, Err(told()));
    let times: Vec<_> = ends.into_iter().map(|(at, _)| at).collect();
    let last = times.iter().max().unwrap().duration_since(since);
    assert!(last > Duration::from_secs(4), "{last:?}");
    assert_eq!(next(&mut watch), Err(RpcStatusCode::UNAVAILABLE));
    assert_eq!(server.wait_exit(SOON), 0);
    assert!(since.elapsed() >= Duration::from_secs(5));
}

#[test]
fn the_ends_of_a_thousand_streams_are_spread_over_the_drain() {
    assert_in_some_round(|| {
        let server = Server::start(&["--drain", "5s", "--log-level", "warn"]);
        let crowd = Crowd::open(&server.address(), 10, 100);
        let since = Instant::now();
        server.signal(Signal::TERM);
        let ends = crowd.timed_ends(SOON);
        let times: Vec<_> = ends.into_iter().map(|(at, _)| at).collect();
        is_spread(&times, since, 5)
    });
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let mut server = Server::start(&["--drain", "60s"]);
    server.signal(Signal::TERM);
    server.wait_for_log(SOON, "draining");
    server.signal(Signal::INT);
    assert_eq!(server.wait_exit(SOON), 130);
}

/// Opens a stream of events, and tells when it has ended as it should.
fn follow(port: u16, ended: crossbeam_channel::Sender<(Instant, bool)>) {
    let answer = ureq::get(format!("http://127.0.0.1:{port}/events")).call();
    let answer = answer.expect("a stream");
    thread::spawn(move || {
        let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
        let whole = lines.all(|line| line.is_ok());
        let _ = ended.send((Instant::now(), whole));
    });
}

#[test]
fn a_log_that_drains_ends_its_streams_one_by_one_and_answers_requests() {
    assert_in_some_round(drain_of_a_log);
}

/// Whether the ends were spread.
fn drain_of_a_log() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--drain",
        "4s",
        "--data-dir",
        folder.path().to_str().unwrap(),
    ];
    let mut log = Log::listening(Log::spawn(&flags, &[]));
    let port = log.port();
    let (ended, ends) = unbounded();
    for _ in 0..80 {
        follow(port, ended.clone());
    }
    assert_eq!(readyz(port).status, 200);
    let since = Instant::now();
    log.signal(Signal::TERM);
    log.wait_for_log(SOON, "draining");
    assert_eq!(readyz(port).status, 503);
    assert_eq!(request("GET", port, "/livez", &[], "").status, 200);
    assert_eq!(request("GET", port, "/events", &[], "").status, 503);
    while since.elapsed() < Duration::from_secs(3) {
        let body = r#"{"sender": "a", "text": "during the drain"}"#;
        assert_eq!(post(port, "/", body).status, 200);
        thread::sleep(Duration::from_millis(20));
    }
    let ends: Vec<_> = (0..80).map(|_| ends.recv_timeout(SOON).unwrap()).collect();
    assert!(ends.iter().all(|(_, whole)| *whole), "cut off");
    let times: Vec<_> = ends.into_iter().map(|(at, _)| at).collect();
    assert_eq!(log.wait_exit(SOON), 0);
    is_spread(&times, since, 4)
}

#[test]
fn a_bridge_that_drains_goes_on_and_is_not_ready() {
    let server = Server::start(&[]);
    let mut bridge = Bridge::start(&server.address(), &["--drain", "2s"]);
    let port = bridge.port();
    bridge.signal(Signal::TERM);
    bridge.wait_for_log(SOON, "draining");
    let refused = readyz(port);
    let failed = "[+]chat ok\n[+]write ok\n[-]drain failed: about to shut down\n";
    assert_eq!(
        (refused.status, refused.body),
        (503, format!("{failed}readyz check failed\n"))
    );
    let sent = post_message(port, "a", "b");
    assert_eq!(flush(port)[0].nanos, sent);
    assert_eq!(bridge.wait_exit(SOON), 0);
}

#[test]
fn a_console_that_drains_ends_its_pages_streams_and_answers_calls() {
    let server = Server::start(&[]);
    let mut console = Console::start(&server.address(), &["--drain", "3s"]);
    let port = console.port();
    let pages: Vec<_> = (0..20).map(|_| Events::open(port, "")).collect();
    let call = || {
        let body = r#"{"author": "a", "text": "b"}"#;
        let json = [("Content-Type", "application/json")];
        request("POST", port, "/api/chat", &json, body).status
    };
    console.signal(Signal::TERM);
    console.wait_for_log(SOON, "draining");
    assert_eq!(request("GET", port, "/events", &[], "").status, 503);
    assert_eq!((readyz(port).status, call()), (503, 200));
    for page in pages {
        page.end(SOON);
    }
    assert_eq!(console.wait_exit(SOON), 0);
}
