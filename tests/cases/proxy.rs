//! The proxy of the compose file in front of the server, with the same
//! configuration: order, streams that last, floods held off.

use std::time::{Duration, Instant};

use super::guard::floods::{Flood, resets};
use crate::support::haproxy::Haproxy;
use crate::support::heavy;
use crate::support::http::seen;
use crate::support::programs::Server;
use crate::support::rpc::{Reader, client, send};

#[test]
fn behind_the_proxy_order_holds_and_resets_are_held_off() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let proxy = Haproxy::one(&server.address());
    let address = &proxy.address;
    let reader = Reader::start(address);
    let sender = client(address);
    let sent: Vec<_> = (0..200)
        .map(|n| {
            let text = n.to_string();
            let time = send(&sender, "a", &text);
            seen("a", &text, time)
        })
        .collect();
    for message in &sent {
        assert_eq!(reader.seen(), *message);
    }
    let before = server.peak_bytes();
    let flood = Flood::start(address, 20, resets);
    let direct = client(&server.address());
    let end = Instant::now() + Duration::from_secs(3);
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        let time = send(&direct, "b", "meanwhile");
        took.push(began.elapsed());
        assert_eq!(reader.seen(), seen("b", "meanwhile", time));
    }
    drop(flood);
    took.sort();
    let slowest = took[took.len() * 99 / 100];
    let grown = (server.peak_bytes() - before) >> 20;
    println!("{} messages, {slowest:?}, {grown} MiB", took.len());
    assert!(grown < 64, "{grown} MiB");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}
