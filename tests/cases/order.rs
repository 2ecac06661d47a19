//! The one order: what a reader gets, from when on, and with which times.

use std::sync::Arc;
use std::thread;

use crate::support::http::seen;
use crate::support::programs::Server;
use crate::support::rpc::{Reader, client, receive, send};
use crate::support::{SOON, heavy};

#[test]
fn an_open_stream_gets_exactly_what_is_sent() {
    let server = Server::start(&[]);
    let reader = Reader::start(&server.address());
    let sender = client(&server.address());
    for number in 0..100 {
        let text = format!("{number} Привет, 世界 \u{1f980}\0");
        let time = send(&sender, "анна", &text);
        assert_eq!(reader.seen(), seen("анна", &text, time));
    }
}

#[test]
fn a_late_subscriber_gets_only_new_messages() {
    let server = Server::start(&[]);
    let sender = client(&server.address());
    let early = Reader::start(&server.address());
    for number in 0..50 {
        send(&sender, "a", &format!("old {number}"));
    }
    let late = Reader::start(&server.address());
    let times: Vec<_> = (0..50)
        .map(|number| send(&sender, "a", &format!("new {number}")))
        .collect();
    for (number, time) in times.iter().enumerate() {
        assert_eq!(late.seen(), seen("a", &format!("new {number}"), *time));
    }
    let texts: Vec<_> = (0..100).map(|_| early.next().text).collect();
    assert_eq!(
        (&*texts[0], &*texts[49], &*texts[50]),
        ("old 0", "old 49", "new 0")
    );
}

#[test]
fn a_sender_that_subscribes_gets_its_own_messages_before_and_among_others() {
    let server = Server::start(&[]);
    let own = client(&server.address());
    let (mut stream, _) = own.subscribe(SOON, SOON).unwrap();
    let other = client(&server.address());
    for _ in 0..20 {
        let first = send(&own, "own", "x");
        let second = send(&other, "other", "y");
        assert!(first < second, "answers rise in the order of acceptance");
        assert_eq!(receive(&mut stream).unwrap().send_time.nanos(), first);
        assert_eq!(receive(&mut stream).unwrap().send_time.nanos(), second);
    }
}

#[test]
fn fifty_readers_see_one_sequence_of_twenty_concurrent_senders() {
    const READERS: usize = 50;
    const SENDERS: usize = 20;
    const MESSAGES: usize = 500;
    let _machine = heavy();
    // No reader is cut, however slow this machine is just now.
    let server = Server::start(&[
        "--backlog-messages",
        "1000000",
        "--backlog-bytes",
        "1000000000",
    ]);
    let readers: Vec<_> = (0..READERS)
        .map(|_| Reader::start(&server.address()))
        .collect();
    let address: Arc<str> = server.address().into();
    let send_all = |sender: usize| {
        let address = address.clone();
        thread::spawn(move || {
            let client = client(&address);
            let author = sender.to_string();
            let one = |number: usize| {
                let text = number.to_string();
                let time = send(&client, &author, &text);
                seen(&author, &text, time)
            };
            (0..MESSAGES).map(one).collect::<Vec<_>>()
        })
    };
    let senders: Vec<_> = (0..SENDERS).map(send_all).collect();
    let answers: Vec<_> = senders.into_iter().map(|s| s.join().unwrap()).collect();
    // By the answers alone: the order is the order of their times.
    let mut expected: Vec<_> = answers.concat();
    expected.sort_by_key(|message| message.nanos);
    assert!(
        expected
            .windows(2)
            .all(|pair| pair[0].nanos < pair[1].nanos),
        "times rise strictly, none is given twice"
    );
    for reader in &readers {
        let sequence: Vec<_> = (0..SENDERS * MESSAGES).map(|_| reader.seen()).collect();
        assert!(
            sequence
                .windows(2)
                .all(|pair| pair[0].nanos < pair[1].nanos),
            "times rise at every reader"
        );
        assert!(
            sequence == expected,
            "a reader's sequence differs from the answers'"
        );
    }
    // Nothing doubled at the end: the next message is the next that is sent.
    let last = send(&client(&address), "end", "");
    for reader in &readers {
        assert_eq!(reader.seen(), seen("end", "", last));
    }
}
