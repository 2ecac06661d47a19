//! A standby is promoted: nothing is lost, or those who were sent what is lost are told.

use std::thread;
use std::time::{Duration, Instant};

use super::outages::{a_while, nothing_is_lost, send_on};
use super::server;
use crate::cases::subscribe::Subscriber;
use crate::support::http::{Seen, seen};
use crate::support::postgres::Database;
use crate::support::process::Signal;
use crate::support::programs::{Program, Server, free_port};
use crate::support::rpc::{client, send};
use crate::support::standby::Pair;
use crate::support::{SOON, eventually, heavy};

#[test]
fn a_synchronous_standby_that_is_promoted_has_all_and_nobody_is_told_of_a_gap() {
    let _machine = heavy();
    // As the compose file has it. The promoted one takes messages without waiting for itself.
    let mut pair = Pair::of_compose();
    let url = pair.create();
    let servers = [(); 3].map(|()| server(&url, &[]));
    let before = Subscriber::live(&servers[1].address()).place;
    nothing_is_lost(&servers, || {
        a_while();
        pair.order("crash_a");
        a_while();
        pair.order("promote_b");
        a_while();
    });
    // A place of the epoch before, and one of a server that has seen neither.
    let last = send(&client(&servers[0].address()), "a", "last");
    let fresh = server(&url, &[]);
    for server in servers.iter().chain([&fresh]) {
        let mut back = Subscriber::open(&server.address(), Some(before.cursor()));
        assert!(!back.gap);
        assert_ne!(back.place.epoch, before.epoch, "another one has begun");
        while back.next().unwrap().nanos != last {}
    }
}

#[test]
fn who_was_sent_what_an_asynchronous_standby_lacks_is_told_of_a_gap() {
    let _machine = heavy();
    let mut pair = Pair::start();
    let url = pair.create();
    let servers = [(); 2].map(|()| server(&url, &[]));
    let addresses = servers.each_ref().map(Program::address);
    let sender = client(&addresses[0]);
    let mut subscriber = Subscriber::live(&addresses[1]);
    let kept = send(&sender, "a", "kept");
    assert_eq!(subscriber.next().unwrap(), seen("a", "kept", kept));
    let place = subscriber.place.clone();
    pair.wait_until_replicated();
    pair.order("stop_b");
    let lost = send(&sender, "a", "lost");
    assert_eq!(subscriber.next().unwrap(), seen("a", "lost", lost));
    pair.order("crash_a");
    pair.order("start_b");
    pair.order("promote_b");
    // Silence would be a lie.
    let end = subscriber.next().unwrap_err();
    let said = "what comes next does not follow what was sent: subscribe again";
    assert_eq!(end.message(), said);
    let mut next = None;
    eventually(SOON, "it takes messages again", || {
        next = sender.send("a", "next", SOON).ok();
        next.is_some()
    });
    let next = next.expect("a time").nanos();
    assert!(next > lost, "no time is used twice");
    for address in &addresses {
        let told = Subscriber::open(address, Some(subscriber.place.cursor()));
        assert!(told.gap);
        let mut whole = Subscriber::open(address, Some(place.cursor()));
        assert!(!whole.gap);
        assert_eq!(whole.next().unwrap(), seen("a", "next", next));
    }
}

#[test]
fn servers_are_replaced_one_by_one_while_readers_go_on() {
    const READERS: usize = 40;
    let _machine = heavy();
    let database = Database::new();
    let ports = [(); 3].map(|()| free_port());
    let start = |port| Server::start_on(port, &["--database-url", &database.url]);
    let mut servers = ports.map(start);
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    let over = std::sync::atomic::AtomicBool::new(false);
    let live = (0..READERS).map(|n| Subscriber::live(&addresses[n % 3]));
    let live: Vec<_> = live.collect();
    thread::scope(|scope| {
        let (addresses, over) = (&addresses, &over);
        let senders =
            ["a", "b", "c"].map(|author| scope.spawn(move || send_on(author, addresses, over)));
        let readers: Vec<_> = live
            .into_iter()
            .map(|subscriber| scope.spawn(move || read_on(subscriber, addresses)))
            .collect();
        for (server, port) in servers.iter_mut().zip(ports) {
            a_while();
            server.signal(Signal::TERM);
            assert_eq!(server.wait_exit(SOON), 0);
            *server = start(port);
        }
        a_while();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        let sent = senders.into_iter().map(|it| it.join().expect("a sender"));
        let mut sent: Vec<Seen> = sent.flatten().collect();
        sent.sort_by_key(|message| message.nanos);
        sent.push(seen("end", "", send(&client(&addresses[0]), "end", "")));
        let mut longest = Duration::ZERO;
        for reader in readers {
            let (read, away) = reader.join().expect("a reader");
            assert!(read == sent, "a reader sees another order");
            longest = longest.max(away);
        }
        println!("{} messages, away for {longest:?} at most", sent.len());
    });
}

/// Reads up to the end, at the next server when one ends; and how long it was away at most.
pub fn read_on(mut subscriber: Subscriber, addresses: &[String; 3]) -> (Vec<Seen>, Duration) {
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
