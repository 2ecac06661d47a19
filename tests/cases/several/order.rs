//! One order everywhere, from the subscription on.

use std::time::Duration;

use super::{NOBODY, send_at_all, server, three};
use crate::cases::python::{Side, agree, bridges};
use crate::cases::subscribe::Subscriber;
use crate::support::http::seen;
use crate::support::postgres::Database;
use crate::support::process::Signal;
use crate::support::programs::{Program, Server};
use crate::support::rpc::{Reader, client, send};
use crate::support::{SOON, heavy};

#[test]
fn readers_at_three_servers_see_one_order_of_all_senders() {
    let _machine = heavy();
    let (_database, servers) = three(&[]);
    all_see_one_order(&servers);
}

pub fn all_see_one_order(servers: &[Program; 3]) {
    const SENDERS: usize = 5;
    const MESSAGES: usize = 60;
    let readers = servers.each_ref().map(|it| Reader::start(&it.address()));
    let mut subscribers = servers.each_ref().map(|it| Subscriber::live(&it.address()));
    let sent = send_at_all(servers, SENDERS, MESSAGES);
    assert_eq!(sent.len(), 3 * SENDERS * MESSAGES);
    for reader in &readers {
        let read: Vec<_> = sent.iter().map(|_| reader.seen()).collect();
        assert!(read == sent, "a reader sees another order, or other times");
    }
    for subscriber in &mut subscribers {
        assert!(subscriber.take(sent.len()) == sent, "another order");
    }
    // Nothing is doubled at the end: the next message is the next that is sent.
    let last = send(&client(&servers[1].address()), "end", "\0\u{1}1\u{1}0");
    for reader in &readers {
        assert_eq!(reader.seen(), seen("end", "\0\u{1}1\u{1}0", last));
    }
}

#[test]
fn a_subscription_gets_nothing_that_was_answered_before_by_another_server() {
    // Nobody is told of what the other one appends: a server that did not look would
    // deliver it a little later.
    let (_database, servers) = three(&["--listen-url", NOBODY]);
    let [sender, other, _] = servers.each_ref().map(|it| client(&it.address()));
    for round in 0..30 {
        let text = round.to_string();
        let before = send(&sender, "before", &text);
        let mut subscriber = Subscriber::live(&servers[1 + round % 2].address());
        assert!(subscriber.place.nanos >= before);
        let after = send(&other, "after", &text);
        assert_eq!(subscriber.next().unwrap(), seen("after", &text, after));
    }
}

#[test]
fn what_another_server_appends_comes_at_once_and_soon_without_notifications() {
    let median = |flags: &[&str]| {
        let (_database, servers) = three(flags);
        let mut subscriber = Subscriber::live(&servers[2].address());
        let sender = client(&servers[0].address());
        let mut waits: Vec<Duration> = Vec::new();
        for _ in 0..21 {
            send(&sender, "a", "b");
            let answered = std::time::Instant::now();
            subscriber.next().unwrap();
            waits.push(answered.elapsed());
        }
        waits.sort();
        waits[10]
    };
    let (told, untold) = (median(&[]), median(&["--listen-url", NOBODY]));
    println!("from the answer to another server's reader: {told:?}, untold {untold:?}");
    assert!(
        told < untold,
        "{told:?} with notifications, {untold:?} without"
    );
    assert!(untold < SOON / 2);
}

#[test]
fn python_bridges_at_three_servers_agree() {
    let _machine = heavy();
    let (_database, [a, b, c]) = three(&[]);
    agree(&bridges([(Side::Python, &a), (Side::Python, &b)]));
    agree(&bridges([(Side::Ours, &c), (Side::Python, &a)]));
}

#[test]
fn what_is_in_the_table_survives_all_servers_and_is_no_news() {
    let database = Database::new();
    let first = server(&database.url, &[]);
    let place = Subscriber::live(&first.address()).place;
    let old = send(&client(&first.address()), "a", "old");
    first.signal(Signal::TERM);
    drop(first);
    let second = server(&database.url, &[]);
    let reader = Reader::start(&second.address());
    let mut back = Subscriber::resume(&second.address(), &place);
    let new = send(&client(&second.address()), "a", "new");
    assert_eq!(reader.seen(), seen("a", "new", new));
    assert_eq!(back.take(2), [seen("a", "old", old), seen("a", "new", new)]);
}

#[test]
fn a_server_without_the_flag_does_not_know_the_database() {
    let (_database, servers) = three(&[]);
    let alone = Server::start(&[]);
    let reader = Reader::start(&alone.address());
    send(&client(&servers[0].address()), "a", "elsewhere");
    let here = send(&client(&alone.address()), "a", "here");
    assert_eq!(reader.seen(), seen("a", "here", here));
}
