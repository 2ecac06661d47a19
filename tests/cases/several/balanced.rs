//! The load balancer of the compose file before three servers: one order, connections
//! that stay together, and a server that dies or hangs is taken out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::outages::{a_while, send_on};
use super::three;
use crate::cases::subscribe::Subscriber;
use crate::support::haproxy::Haproxy;
use crate::support::http::{self, Seen, seen};
use crate::support::metrics::Scrape;
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Program};
use crate::support::rpc::{client, receive, send, subscribe};
use crate::support::{SOON, eventually, heavy};

const METRICS: &[&str] = &["--metrics-port", "0"];

/// How many calls of this method each server has seen.
fn calls(servers: &[Program; 3], method: &str) -> [usize; 3] {
    let label = format!("grpc_method=\"{method}\"");
    servers.each_ref().map(|server| {
        let scrape = Scrape::of(server.metrics_port());
        let calls = scrape.sum("grpc_server_started_total", &[&label]);
        calls as usize
    })
}

/// Subscribers, until each server has some.
fn at_all(address: &str, servers: &[Program; 3]) -> Vec<Subscriber> {
    let mut all = Vec::new();
    while all.len() < 12 || calls(servers, "Subscribe").contains(&0) {
        all.push(Subscriber::live(address));
        assert!(all.len() < 100, "some server gets no connection");
    }
    all
}

#[test]
fn a_server_that_dies_or_hangs_is_taken_out_and_its_clients_go_on_at_another_one() {
    let _machine = heavy();
    let (_database, servers) = three(METRICS);
    let balancer = Haproxy::several(&servers);
    let addresses = &[(); 3].map(|()| balancer.address.clone());
    let live = at_all(&balancer.address, &servers);
    println!("{:?} subscribers", calls(&servers, "Subscribe"));
    let over = &AtomicBool::new(false);
    let (sent, read) = thread::scope(|scope| {
        let senders = ["a", "b", "c", "d"]
            .map(|author| scope.spawn(move || send_on(author, addresses, over)));
        let readers: Vec<_> = live
            .into_iter()
            .map(|subscriber| scope.spawn(move || read_on(subscriber, addresses)))
            .collect();
        a_while();
        servers[1].signal(Signal::KILL);
        balancer
            .process
            .wait_for_log(SOON, "messenger/chat2 is DOWN");
        a_while();
        servers[2].stop();
        balancer
            .process
            .wait_for_log(SOON, "messenger/chat3 is DOWN");
        a_while();
        over.store(true, Ordering::Relaxed);
        let sent = senders.into_iter().map(|it| it.join().expect("a sender"));
        let mut sent: Vec<Seen> = sent.flatten().collect();
        sent.sort_by_key(|message| message.nanos);
        let end = send(&client(&balancer.address), "end", "");
        sent.push(seen("end", "", end));
        let read: Vec<_> = readers
            .into_iter()
            .map(|it| it.join().expect("a reader").0)
            .collect();
        (sent, read)
    });
    println!("{} messages", sent.len());
    assert!(read.iter().all(|read| *read == sent), "another order");
}

#[test]
fn what_a_connection_sends_goes_to_the_server_at_which_it_reads() {
    const MESSAGES: usize = 20;
    let (_database, servers) = three(METRICS);
    let balancer = Haproxy::several(&servers);
    for round in 1..=4 {
        let client = client(&balancer.address);
        let mut stream = subscribe(&client).unwrap();
        for n in 0..MESSAGES {
            let time = send(&client, "a", &n.to_string());
            assert_eq!(receive(&mut stream).unwrap().send_time.nanos(), time);
        }
        let reads = calls(&servers, "Subscribe").map(|count| count * MESSAGES);
        assert_eq!(calls(&servers, "SendMessage"), reads, "round {round}");
    }
    // A bridge reads on one connection and sends on another one.
    let bridge = Bridge::start(&balancer.address, &[]);
    for n in 0..MESSAGES {
        let text = n.to_string();
        let time = http::send(bridge.port(), "a", &text);
        assert_eq!(http::flush(bridge.port()), [seen("a", &text, time)]);
    }
}

/// Reads up to the end, at the next server when one ends; and how long it was away at most.
fn read_on(mut subscriber: Subscriber, addresses: &[String; 3]) -> (Vec<Seen>, Duration) {
    let (mut read, mut longest, mut at) = (Vec::<Seen>::new(), Duration::ZERO, 0);
    while read.last().is_none_or(|last| last.author != "end") {
        if let Ok(message) = subscriber.next() {
            read.push(message);
            continue;
        }
        let began = Instant::now();
        eventually(SOON, "another server takes it", || {
            at += 1;
            let again = Subscriber::try_open(&addresses[at % 3], &subscriber.place);
            again.is_some_and(|again| {
                assert!(!again.gap);
                subscriber = again;
                true
            })
        });
        longest = longest.max(began.elapsed());
    }
    (read, longest)
}
