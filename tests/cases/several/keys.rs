//! Idempotency keys hold over all servers.

use std::collections::HashSet;
use std::thread;

use messenger::chat::client::ChatClient;
use messenger::error::Code;
use messenger::fanout::clock::Timestamp;

use super::three;
use crate::support::SOON;
use crate::support::http::seen;
use crate::support::programs::Program;
use crate::support::rpc::{Reader, client, send};

#[test]
fn a_key_that_one_server_has_seen_is_known_at_the_others() {
    let (_database, servers) = three(&[]);
    keys_hold(&servers);
}

pub fn keys_hold(servers: &[Program; 3]) {
    let clients = servers.each_ref().map(|it| client(&it.address()));
    let reader = Reader::start(&servers[2].address());
    let once = |at: usize, text: &str| clients[at].send_once(Some("key"), None, "a", text, SOON);
    let first = once(0, "b").unwrap();
    for at in [1, 2, 0] {
        assert_eq!(once(at, "b"), Ok(first));
        let taken = once(at, "other").unwrap_err();
        assert_eq!(taken.code, Code::AlreadyExists, "{taken}");
    }
    assert_eq!(reader.seen(), seen("a", "b", first.nanos()));
    let last = send(&clients[1], "a", "last");
    assert_eq!(reader.seen(), seen("a", "last", last));
}

#[test]
fn a_key_that_comes_to_all_servers_at_once_is_delivered_once() {
    const ROUNDS: usize = 30;
    let (_database, servers) = three(&[]);
    let reader = Reader::start(&servers[0].address());
    let clients: Vec<_> = (0..9).map(|n| client(&servers[n % 3].address())).collect();
    for round in 0..ROUNDS {
        let text = &round.to_string();
        let times: HashSet<Timestamp> = thread::scope(|scope| {
            let send = |client: &ChatClient| client.send_once(Some(text), None, "a", text, SOON);
            let sent = clients.iter().map(|it| scope.spawn(move || send(it)));
            let sent: Vec<_> = sent.collect();
            let times = sent.into_iter().map(|it| it.join().unwrap().unwrap());
            times.collect()
        });
        let [time] = Vec::from_iter(times)[..] else {
            panic!("two times in round {round}")
        };
        assert_eq!(reader.seen(), seen("a", text, time.nanos()));
    }
    let last = send(&clients[0], "a", "last");
    assert_eq!(reader.seen(), seen("a", "last", last));
}
