//! Calls whose one request message does not come.

use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;

use super::{SEND, code, slowest_percent};
use crate::support::h2::{DATA, END_STREAM, Wire};
use crate::support::programs::Server;
use crate::support::rpc::{Reader, client, send};
use crate::support::{SOON, heavy};

const READ: &str = "/mes_grpc.MessengerServer/ReadMessages";
const TICKER: &str = "/StockTicker/SubscribeToStockUpdates";
const CHECK: &str = "/grpc.health.v1.Health/Check";

#[test]
fn twenty_thousand_unfinished_calls_hold_up_nobody() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let mut wires: Vec<_> = (0..20).map(|_| Wire::open(&server.address())).collect();
    for (n, wire) in wires.iter_mut().enumerate() {
        for call in 0..1000 {
            wire.call(2 * call + 1, [SEND, READ, CHECK][n % 3]);
        }
        wire.flush();
    }
    let started = Instant::now();
    let slowest = slowest_percent(&server, || started.elapsed() > Duration::from_secs(2));
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
    Reader::start(&server.address());
}

#[test]
fn of_one_connection_256_unfinished_calls_may_wait_ten_seconds() {
    let server = Server::start(&[]);
    let mut wire = Wire::open(&server.address());
    let began = Instant::now();
    for call in 0..300 {
        wire.call(2 * call + 1, SEND);
    }
    wire.flush();
    for _ in 256..300 {
        let (_, status) = wire.ended(SOON).expect("a refusal");
        assert_eq!(status, code(RpcStatusCode::RESOURCE_EXHAUSTED));
    }
    let refused = began.elapsed();
    assert!(refused < Duration::from_secs(3), "{refused:?}");
    for _ in 0..256 {
        let (_, status) = wire.ended(SOON).expect("an end");
        assert_eq!(status, code(RpcStatusCode::DEADLINE_EXCEEDED));
    }
    let ended = began.elapsed();
    assert!(ended >= Duration::from_secs(9), "{ended:?}");
    // And then there is room again.
    wire.call(1001, SEND);
    wire.message(1001, b"", END_STREAM);
    wire.flush();
    assert_eq!(wire.ended(SOON), Some((1001, 0)));
}

#[test]
fn a_thousand_calls_at_once_are_all_answered() {
    let server = Server::start(&[]);
    let mut wire = Wire::open(&server.address());
    for call in 0..1000 {
        wire.whole(2 * call + 1, SEND, b"\x0a\x01a");
    }
    wire.flush();
    for _ in 0..1000 {
        let (_, status) = wire.ended(SOON).expect("an answer");
        assert_eq!(status, 0);
    }
}

#[test]
fn requests_in_pieces_without_and_with_more_than_one_message() {
    let server = Server::start(&[]);
    let mut wire = Wire::open(&server.address());
    let internal = code(RpcStatusCode::INTERNAL);
    for (at, path) in [SEND, READ, CHECK].into_iter().enumerate() {
        let stream = 100 * u32::try_from(at).unwrap() + 1;
        // Half-closed without a message.
        wire.call(stream, path);
        wire.frame(DATA, END_STREAM, stream, &[]);
        wire.flush();
        assert_eq!(wire.ended(SOON), Some((stream, internal)), "{path}");
        // No protobuf.
        wire.whole(stream + 2, path, b"\xff\xff\xff\xff\xff");
        wire.flush();
        assert_eq!(wire.ended(SOON), Some((stream + 2, internal)), "{path}");
    }
    // The same for a stream in both directions.
    wire.whole(901, TICKER, b"\xff\xff\xff\xff\xff");
    wire.flush();
    assert_eq!(wire.ended(SOON), Some((901, internal)), "{TICKER}");
    // A second message is not looked at, and nobody waits for the half-close.
    wire.call(1001, SEND);
    wire.message(1001, b"\x0a\x01a", 0);
    wire.message(1001, b"\x0a\x01b", 0);
    wire.flush();
    assert_eq!(wire.ended(SOON), Some((1001, 0)));
    // A message in two frames, some time apart.
    wire.call(1003, SEND);
    wire.frame(DATA, 0, 1003, &[0, 0, 0, 0, 3, 0x0a]);
    wire.flush();
    let client = client(&server.address());
    for _ in 0..100 {
        send(&client, "other", "message");
    }
    wire.frame(DATA, END_STREAM, 1003, &[1, b'c']);
    wire.flush();
    assert_eq!(wire.ended(SOON), Some((1003, 0)));
    // A method that there is not.
    wire.call(1005, "/mes_grpc.MessengerServer/Nothing");
    wire.flush();
    let unimplemented = code(RpcStatusCode::UNIMPLEMENTED);
    assert_eq!(wire.ended(SOON), Some((1005, unimplemented)));
}
