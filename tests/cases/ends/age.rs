//! `--max-stream-age`: streams end after some time, and clients come back.

use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use messenger::error::Error;
use messenger::grpc::health::wire::Status;

use super::{next, ticker, watch};
use crate::support::http::{flush, send as post_message};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Server};
use crate::support::rpc::{Crowd, Reader, client, raw, send};
use crate::support::{SOON, eventually};

const FLAGS: [&str; 2] = ["--max-stream-age", "2s"];

fn told() -> Error {
    Error::unavailable("max stream age")
}

#[test]
fn streams_end_about_their_age_with_all_that_was_sent_before() {
    let server = Server::start(&FLAGS);
    let started = Instant::now();
    let crowd = Crowd::open(&server.address(), 2, 25);
    let reader = Reader::start(&server.address());
    let live = started.elapsed();
    let sender = client(&server.address());
    let times: Vec<_> = (0..50).map(|_| send(&sender, "a", "b")).collect();
    for time in times {
        assert_eq!(reader.next().send_time.nanos(), time);
    }
    assert_eq!(reader.end(SOON), (0, told()));
    let ends = crowd.timed_ends(SOON);
    assert!(ends.iter().all(|(_, end)| *end == told()));
    let ages: Vec<_> = ends
        .iter()
        .map(|(at, _)| at.duration_since(started))
        .collect();
    let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*first >= Duration::from_millis(1790), "{first:?}");
    let latest = Duration::from_millis(2200) + live + Duration::from_secs(2);
    assert!(*last < latest, "{last:?}");
    // And others are as young as they are.
    assert_eq!(Reader::start(&server.address()).end(SOON), (0, told()));
}

#[test]
fn bidirectional_streams_end_too_and_watches_of_the_health_do_not() {
    let server = Server::start(&FLAGS);
    let client = raw(&server.address());
    let mut watch = watch(&client);
    assert_eq!(next(&mut watch), Ok(Status::SERVING));
    for _ in 0..2 {
        let (_requests, updates) = ticker(&server.address());
        assert_eq!(updates.rest(SOON).1, Err(told()));
    }
    // By now it is older than twice that age.
    server.signal(Signal::TERM);
    assert_eq!(next(&mut watch), Ok(Status::NOT_SERVING));
    assert_eq!(next(&mut watch), Err(RpcStatusCode::UNAVAILABLE));
}

#[test]
fn a_bridge_comes_back_and_goes_on_where_it_was() {
    let server = Server::start(&FLAGS);
    let bridge = Bridge::start(&server.address(), &[]);
    bridge.wait_for_log(SOON, "max stream age");
    bridge.wait_for_log(SOON, "the subscription is live again; nothing was missed");
    let sent = post_message(bridge.port(), "a", "b");
    let mut got = Vec::new();
    eventually(SOON, "the message", || {
        got.extend(flush(bridge.port()));
        got.iter().any(|message| message.nanos == sent)
    });
}
