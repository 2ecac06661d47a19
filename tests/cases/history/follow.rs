//! Those who follow the log as it grows.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use messenger::history::client::HistoryClient;
use serde_json::{Value, json};

use crate::support::events::{Event, Events};
use crate::support::history::{Store, say};
use crate::support::http::request;
use crate::support::postgres::cluster;
use crate::support::process::Signal;
use crate::support::{SOON, eventually};

fn number(event: &Event) -> i64 {
    let number = event.data["number"].as_i64().expect("a number");
    assert_eq!(event.id, Some(number.to_string()));
    number
}

/// The numbers of the next events.
fn numbers(events: &Events, count: usize) -> Vec<i64> {
    (0..count).map(|_| number(&events.next())).collect()
}

fn range(range: std::ops::RangeInclusive<i64>) -> Vec<i64> {
    range.collect()
}

fn every_message_comes_once_and_in_order(store: &Store) {
    let logs = store.replicas(2);
    let ports: Vec<_> = logs.iter().map(|log| log.port()).collect();
    for n in 1..=3 {
        say(ports[0], "anna", &n.to_string());
    }
    let all = Events::open(ports[0], "after=0");
    let new = Events::open(ports[1], "");
    assert_eq!(numbers(&all, 3), range(1..=3));
    let speakers = ports.iter().map(|&port| {
        thread::spawn(move || (0..100).for_each(|n| drop(say(port, "ben", &n.to_string()))))
    });
    let speakers: Vec<_> = speakers.collect();
    let all = thread::spawn(move || numbers(&all, 200));
    assert_eq!(numbers(&new, 200), range(4..=203));
    assert_eq!(all.join().expect("a follower"), range(4..=203));
    speakers
        .into_iter()
        .for_each(|s| s.join().expect("one who speaks"));

    // A browser that comes back says it in a header; its address is an old one.
    let back = Events::open_from(ports[0], "after=0", Some("200"));
    assert_eq!(numbers(&back, 3), range(201..=203));
    // Now both wait, and the message comes through the other replica.
    say(ports[1], "Zoë", "a\n\nid: 7\u{2028}");
    let event = back.next();
    assert_eq!((number(&event), &*event.name), (204, ""));
    let page = request("GET", ports[0], "/messages?limit=1", &[], "");
    assert_eq!(event.data, page.json()[0]);
    assert_eq!(event.data["text"], "a\n\nid: 7\u{2028}");
    assert_eq!(numbers(&new, 1), [204]);
}

#[test]
fn every_message_comes_once_and_in_order_on_sqlite() {
    every_message_comes_once_and_in_order(&Store::sqlite());
}

#[test]
fn every_message_comes_once_and_in_order_on_postgres() {
    every_message_comes_once_and_in_order(&Store::postgres());
}

#[test]
fn a_follower_that_does_not_read_slows_nobody_and_misses_nothing() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    let mut slow = TcpStream::connect(log.address()).expect("a connection");
    slow.set_read_timeout(Some(SOON)).expect("a timeout");
    slow.write_all(b"GET /events HTTP/1.0\r\n\r\n")
        .expect("a request");
    let mut lines = BufReader::new(slow)
        .lines()
        .map(|line| line.expect("a line"));
    // From here on it follows.
    assert!(lines.any(|line| line.starts_with("retry: ")));
    let quick = Events::open(log.port(), "");
    // More than the sockets and what is kept for all followers take.
    let long = "x".repeat(200_000);
    for n in 1..=100 {
        say(log.port(), "anna", &long);
        assert_eq!(numbers(&quick, 1), [n]);
    }
    let ids = lines.filter_map(|line| line.strip_prefix("id: ").map(|id| id.parse().unwrap()));
    assert_eq!(ids.take(100).collect::<Vec<i64>>(), range(1..=100));
}

#[test]
fn streams_end_with_their_database_and_their_replica() {
    let mut cluster = cluster(&[]);
    let store = Store::Url(cluster.create("log").unwrap());
    let mut log = store.replica(&["--database-timeout", "1s"], &[]);
    say(log.port(), "anna", "before");
    let follower = Events::open(log.port(), "after=0");
    assert_eq!(numbers(&follower, 1), [1]);
    cluster.order("stop").unwrap();
    follower.end(2 * SOON);
    let refused = request("GET", log.port(), "/events", &[], "");
    let code = refused.json()["error"]["code"].clone();
    assert_eq!((refused.status, code), (503, json!("UNAVAILABLE")));
    cluster.order("start").unwrap();
    eventually(SOON, "the database is back", || {
        request("GET", log.port(), "/healthz", &[], "").status == 200
    });
    let follower = Events::open(log.port(), "after=1");
    say(log.port(), "anna", "after");
    assert_eq!(numbers(&follower, 1), [2]);
    log.signal(Signal::TERM);
    assert_eq!(log.wait_exit(SOON), 0, "{}", log.log());
    follower.end(SOON);
}

#[test]
fn a_follower_that_is_ahead_of_the_log_is_told_and_follows_from_its_end() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    say(log.port(), "anna", "one");
    for follower in [
        Events::open_from(log.port(), "", Some("500")),
        Events::open(log.port(), "after=2"),
    ] {
        let gap = follower.next();
        assert_eq!((gap.name.as_str(), gap.id.as_deref()), ("gap", Some("1")));
        assert_eq!(gap.data, json!({"newest": 1}));
    }
    let follower = Events::open(log.port(), "after=500");
    follower.named("gap");
    say(log.port(), "anna", "two");
    assert_eq!(numbers(&follower, 1), [2]);
}

#[test]
fn what_was_pruned_is_told_and_the_rest_comes_once() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    for n in 1..=5 {
        say(log.port(), "anna", &n.to_string());
    }
    let Store::Sqlite(folder) = &store else {
        unreachable!()
    };
    let pruned = Store::sqlite_connection(folder)
        .execute("DELETE FROM messages WHERE number <= 3", [])
        .unwrap();
    assert_eq!(pruned, 3);
    let follower = Events::open(log.port(), "after=1");
    let gone = follower.next();
    assert_eq!(
        (gone.name.as_str(), gone.id.as_deref()),
        ("gone", Some("3"))
    );
    assert_eq!(gone.data, json!({"from": 2, "to": 3}));
    assert_eq!(numbers(&follower, 2), [4, 5]);
    say(log.port(), "anna", "6");
    assert_eq!(numbers(&follower, 1), [6]);
}

#[test]
fn what_does_not_say_where_it_stands_is_refused() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    let get = |path: &str, headers: &[(&str, &str)]| request("GET", log.port(), path, headers, "");
    for (path, headers, named) in [
        ("/events?after=x", &[][..], "after"),
        ("/events?from=1", &[][..], "from"),
        ("/events", &[("Last-Event-ID", "-1")][..], "Last-Event-ID"),
    ] {
        let answer = get(path, headers);
        let message: Value = answer.json()["error"]["message"].clone();
        assert_eq!(answer.status, 400, "{path}");
        assert!(message.as_str().unwrap().contains(named), "{message}");
    }
    let wrong = request("POST", log.port(), "/events", &[], "{}");
    assert_eq!((wrong.status, wrong.header("Allow")), (405, Some("GET")));
}

#[test]
fn a_log_whose_answer_does_not_begin_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (over, given_up) = crossbeam_channel::bounded(1);
    let client = HistoryClient::new(&address, None, None, Duration::from_millis(200));
    thread::spawn(move || over.send(client.follow(0).map(drop)));
    let (mut connection, _) = listener.accept().unwrap();
    connection.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
    // Never silent, and never through with its head.
    let told = loop {
        match given_up.recv_timeout(Duration::from_millis(100)) {
            Ok(told) => break told,
            Err(_) => drop(connection.write_all(b"X-More: to come\r\n")),
        }
    };
    assert!(told.unwrap_err().message.contains("timeout"));
}
