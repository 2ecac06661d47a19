//! Readers that do not read: slow, stopped, killed. Each is cut, and none of
//! the others notices.

use std::time::{Duration, Instant};

use messenger::chat::client::{ChatClient, ChatStream};
use messenger::chat::wire;
use messenger::error::{Code, Error};
use messenger::status;

use crate::support::http::{Seen, seen};
use crate::support::process::Signal;
use crate::support::programs::{Program, Server, tail};
use crate::support::rpc::{Reader, client, narrow, open, raw, receive, send, subscribe};
use crate::support::{eventually, heavy, nanos};

/// Fills flow-control windows quickly.
const TEXT_BYTES: usize = 64 * 1024;

/// A small backlog: a reader may be a mebibyte behind.
const SMALL: [&str; 2] = ["--backlog-bytes", "1048576"];

/// Sends big messages until the server has cut the one that does not read. Waits for
/// `readers` after each one, so that none of them is behind.
fn send_until_cut(server: &Program, sender: &ChatClient, readers: &[Reader]) -> Vec<Seen> {
    let mut sent = Vec::new();
    // Among many other lines the log only counts it.
    let cut = |log: String| log.contains("slow consumer cut") || log.contains("cut=1");
    while !cut(server.log()) {
        assert!(sent.len() < 1000, "64 MiB are no backlog of 1 MiB");
        let text = format!("{}{}", "x".repeat(TEXT_BYTES), sent.len());
        let time = send(sender, "a", &text);
        sent.push(seen("a", &text, time));
        for reader in readers {
            assert!(
                Some(&reader.seen()) == sent.last(),
                "a reader misses a message"
            );
        }
    }
    sent
}

/// Reads to the end: how many messages of `sent` came, which have to be its
/// first, and the end.
fn read_on(stream: &mut ChatStream, sent: &[Seen]) -> (usize, Error) {
    for count in 0.. {
        match receive(stream) {
            Ok(message) => {
                let message = seen(&message.author, &message.text, message.send_time.nanos());
                assert!(
                    Some(&message) == sent.get(count),
                    "message {count} is another one"
                );
            }
            Err(end) => return (count, end),
        }
    }
    unreachable!("no stream is that long")
}

/// The time of which the end says that it was the last that was handed over.
fn last_time(end: &Error) -> i64 {
    assert_eq!(end.code, Code::ResourceExhausted, "{end}");
    let (_, time) = end
        .message
        .split_once("last sendTime sent: ")
        .expect("a last time");
    nanos(time)
}

#[test]
fn one_of_twenty_that_stops_reading_is_cut_and_told_where_while_the_others_get_everything() {
    let _machine = heavy();
    let server = Server::start(&SMALL);
    let address = server.address();
    let readers: Vec<_> = (0..19).map(|_| Reader::start(&address)).collect();
    let lazy = client(&address);
    let mut stream = subscribe(&lazy).unwrap();
    server.wait_for_threads("subscribe-", 20);
    let sender = client(&address);
    let mut sent = send_until_cut(&server, &sender, &readers);
    // It has not read a message yet, and still nobody else is slowed down.
    for number in 0..50 {
        let text = format!("after {number}");
        let time = send(&sender, "a", &text);
        sent.push(seen("a", &text, time));
        for reader in &readers {
            assert!(Some(&reader.seen()) == sent.last());
        }
    }
    let (count, end) = read_on(&mut stream, &sent);
    assert!(count > 0, "what the transport had taken arrives");
    let named = last_time(&end);
    assert_eq!(
        named,
        sent[count - 1].nanos,
        "the named time is that of the last message"
    );
    // The next try works, on the same connection.
    let mut again = subscribe(&lazy).unwrap();
    let time = send(&sender, "a", "again");
    assert_eq!(receive(&mut again).unwrap().send_time.nanos(), time);
}

#[test]
fn the_status_of_a_cut_reader_names_the_last_message_that_goes_out() {
    let server = Server::start(&SMALL);
    let lazy = raw(&server.address());
    let mut stream = open(&server, &lazy);
    let sender = client(&server.address());
    let sent = send_until_cut(&server, &sender, &[]);
    for count in 0.. {
        match stream.wait() {
            Ok(message) => {
                let message = wire::message(message);
                assert_eq!(message.send_time.nanos(), sent[count].nanos);
            }
            Err(end) => {
                let named = last_time(&status::from_grpc(&end));
                assert_eq!(named, sent[count - 1].nanos, "after {count} messages");
                return;
            }
        }
    }
}

#[test]
fn a_backlog_of_many_small_messages_is_bounded_by_their_number() {
    let _machine = heavy();
    let server = Server::start(&["--backlog-messages", "50"]);
    let reader = Reader::start(&server.address());
    let lazy = client(&server.address());
    let mut stream = subscribe(&lazy).unwrap();
    let sender = client(&server.address());
    let readers = [reader];
    // 50 of these messages are 3 MiB, below the bound on bytes.
    let sent = send_until_cut(&server, &sender, &readers);
    assert!(sent.len() > 50, "{} messages fit", sent.len());
    let (count, end) = read_on(&mut stream, &sent);
    assert!(
        sent.len() - count >= 50,
        "50 messages waited, {count} of {} came",
        sent.len()
    );
    last_time(&end);
}

#[test]
fn a_cut_reader_that_never_reads_is_cancelled_after_ten_seconds() {
    let server = Server::start(&[SMALL.as_slice(), &["--max-streams", "1"]].concat());
    let lazy = client(&server.address());
    let mut stream = subscribe(&lazy).unwrap();
    let sender = client(&server.address());
    send_until_cut(&server, &sender, &[]);
    let cut = Instant::now();
    // Its place is taken until its status is read or given up.
    assert_eq!(
        subscribe(&sender).err().unwrap().code,
        Code::ResourceExhausted
    );
    let mut next = None;
    eventually(Duration::from_secs(15), "the place is free", || {
        next = subscribe(&sender).ok();
        next.is_some()
    });
    assert!(
        cut.elapsed() > Duration::from_secs(8),
        "it had time to read its status"
    );
    let time = send(&sender, "a", "b");
    assert_eq!(receive(&mut next.unwrap()).unwrap().send_time.nanos(), time);
    // For the one that was given up the call is over too, without a status.
    let end = loop {
        if let Err(end) = receive(&mut stream) {
            break end;
        }
    };
    assert_eq!(end.code, Code::Cancelled, "{end}");
}

#[test]
fn a_cut_reader_that_reads_its_status_frees_its_place_at_once() {
    let server = Server::start(&[SMALL.as_slice(), &["--max-streams", "1"]].concat());
    let lazy = client(&server.address());
    let mut stream = subscribe(&lazy).unwrap();
    let sender = client(&server.address());
    let sent = send_until_cut(&server, &sender, &[]);
    let (_, end) = read_on(&mut stream, &sent);
    last_time(&end);
    eventually(Duration::from_secs(2), "the place is free", || {
        subscribe(&sender).is_ok()
    });
}

#[test]
fn the_backlogs_of_500_readers_that_do_not_read_stay_within_the_memory_limit() {
    const MIB: usize = 1024 * 1024;
    let _machine = heavy();
    let flags = [
        "--memory-limit",
        "67108864",
        "--backlog-messages",
        "1000000",
    ];
    let server = Server::start(&flags);
    let lazy: Vec<_> = (0..20).map(|_| narrow(&server.address())).collect();
    let streams = lazy.iter().flat_map(|lazy| std::iter::repeat_n(lazy, 25));
    let _streams: Vec<_> = streams.map(|lazy| open(&server, lazy)).collect();
    let reader = Reader::start(&server.address());
    let sender = client(&server.address());
    // What the windows take, and then 5,000 messages for each backlog: 150 MiB.
    for number in 0..6000 {
        let time = send(&sender, "a", &number.to_string());
        assert_eq!(reader.next().send_time.nanos(), time);
    }
    let most = server.peak_bytes();
    assert!(most < 32 * MIB * 5 / 4 + 64 * MIB, "{} MiB", most / MIB);
}

#[test]
fn a_stopped_reader_is_gone_within_fifteen_seconds() {
    let server = Server::start(&[]);
    let stopped = tail(&server.address(), &[]);
    let witness = tail(&server.address(), &[]);
    server.wait_for_threads("subscribe-", 2);
    stopped.stop();
    eventually(
        Duration::from_secs(15),
        "the thread of the stopped reader has ended",
        || server.threads_named("subscribe-") == 1,
    );
    // One that lives and has nothing to say for longer than that stays.
    let time = send(&client(&server.address()), "a", "b");
    let line: serde_json::Value =
        serde_json::from_str(&witness.line(Duration::from_secs(5)).unwrap()).unwrap();
    assert_eq!(nanos(line["sendTime"].as_str().unwrap()), time);
}

#[test]
fn a_reader_that_is_stopped_amid_messages_is_gone_within_fifteen_seconds() {
    let server = Server::start(&[]);
    let stopped = tail(&server.address(), &[]);
    let reader = Reader::start(&server.address());
    let sender = client(&server.address());
    server.wait_for_threads("subscribe-", 2);
    stopped.stop();
    let started = Instant::now();
    while server.threads_named("subscribe-") > 1 {
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "its thread is still there"
        );
        let time = send(&sender, "a", &" ".repeat(1000));
        assert_eq!(reader.next().send_time.nanos(), time);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_reader_frees_its_thread_at_once() {
    let server = Server::start(&["--max-streams", "2"]);
    let reader = Reader::start(&server.address());
    for _ in 0..5 {
        let killed = tail(&server.address(), &[]);
        server.wait_for_threads("subscribe-", 2);
        killed.signal(Signal::KILL);
        eventually(
            Duration::from_secs(2),
            "the thread of the killed reader has ended",
            || server.threads_named("subscribe-") == 1,
        );
    }
    let time = send(&client(&server.address()), "a", "b");
    assert_eq!(reader.next().send_time.nanos(), time);
}
