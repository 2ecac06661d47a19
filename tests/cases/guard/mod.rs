//! No peer may stop the server: calls that are never finished, answers that are
//! never taken, floods of frames.

mod answers;
pub mod floods;
mod memory;
mod unfinished;

use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;

use crate::support::programs::Program;
use crate::support::rpc::{client, send};

const SEND: &str = "/mes_grpc.MessengerServer/SendMessage";

fn code(code: RpcStatusCode) -> u32 {
    u32::try_from(i32::from(code)).unwrap()
}

/// Sends until `over`, and says how long one in a hundred took at least.
fn slowest_percent(server: &Program, over: impl Fn() -> bool) -> Duration {
    let client = client(&server.address());
    let mut took = Vec::new();
    while !over() || took.len() < 200 {
        let sent = Instant::now();
        send(&client, "other", "message");
        took.push(sent.elapsed());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// A message with one field 1 of text.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap());
    message.extend_from_slice(bytes);
    message
}
