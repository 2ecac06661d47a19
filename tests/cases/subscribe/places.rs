//! Every place that a cursor can name is filled completely, or told as a gap.

use grpcio::RpcStatusCode;
use messenger::chat::wire::Cursor;
use protobuf::MessageField;

use super::{Place, Subscriber, call};
use crate::support::clock::{Clock, borrowed};
use crate::support::http::{Seen, seen};
use crate::support::programs::{Program, Server, messenger_with};
use crate::support::rpc::{client, raw, send};

/// A server with this replay buffer, the place before its first message, and what was
/// sent then.
fn sent(flags: &[&str], count: usize) -> (Program, Place, Vec<Seen>) {
    let server = Server::start(flags);
    let start = Subscriber::live(&server.address()).place;
    let sender = client(&server.address());
    let text = |n: usize| n.to_string();
    let sent = (0..count).map(|n| seen("a", &text(n), send(&sender, "a", &text(n))));
    let sent = sent.collect();
    (server, start, sent)
}

/// What comes behind this place until a message that is sent now; `None` is a gap.
fn behind(server: &Program, place: &Place) -> Option<Vec<Seen>> {
    let mut subscriber = Subscriber::open(&server.address(), Some(place.cursor()));
    let time = send(&client(&server.address()), "b", "live");
    let mut came = Vec::new();
    loop {
        let message = subscriber.next().unwrap();
        if message == seen("b", "live", time) {
            break;
        }
        came.push(message);
    }
    assert!(!subscriber.gap || came.is_empty(), "never partly");
    (!subscriber.gap).then_some(came)
}

#[test]
fn the_newest_the_oldest_kept_and_one_before_it_are_filled_and_nothing_else() {
    // Each look below sends one more.
    let (server, start, sent) = sent(&["--replay-messages", "20"], 30);
    let after = |number: usize| start.at(sent[number].nanos);
    assert_eq!(behind(&server, &after(29)).unwrap(), [], "the newest");
    // 30 is "live", so 11 is the oldest that is kept.
    let rest = behind(&server, &after(11)).unwrap();
    assert_eq!(rest[..18], sent[12..], "the oldest");
    assert_eq!(rest.len(), 19);
    // One more: 12 is the oldest that is kept.
    assert_eq!(behind(&server, &after(11)).unwrap()[..18], sent[12..]);
    assert_eq!(behind(&server, &after(11)), None, "one that was dropped");
    assert_eq!(behind(&server, &start), None, "the beginning");
    let between = start.at(sent[28].nanos + 1);
    assert_eq!(behind(&server, &between).unwrap()[..1], sent[29..]);
}

#[test]
fn what_a_server_cannot_know_is_a_gap() {
    let (server, start, sent) = sent(&[], 3);
    let last = start.at(sent[2].nanos);
    let gap = |place: Place| {
        let told = behind(&server, &place);
        assert_eq!(told, None, "{place:?}");
    };
    gap(last.at(last.nanos + 3_600_000_000_000));
    gap(last.at(-1));
    for epoch in ["x", &"y".repeat(64)] {
        gap(Place {
            epoch: epoch.into(),
            ..last.clone()
        });
    }
    // What each look has sent.
    assert_eq!(behind(&server, &last).unwrap().len(), 4);
    let year_9999 = Place {
        epoch: start.epoch.clone(),
        nanos: i64::MAX,
    };
    gap(year_9999);
}

#[test]
fn without_a_buffer_only_the_newest_place_is_filled() {
    for off in ["messages", "bytes", "age"] {
        let (server, start, sent) = sent(&[&format!("--replay-{off}"), "0"], 2);
        let after = |number: usize| start.at(sent[number].nanos);
        assert_eq!(behind(&server, &after(1)).unwrap(), [], "{off}");
        assert_eq!(behind(&server, &after(1)), None, "{off}");
    }
}

#[test]
fn what_is_too_old_is_a_gap_though_nothing_came_since() {
    let (server, start, sent) = sent(&["--replay-age", "300ms"], 2);
    let mut place = start.at(sent[0].nanos);
    crate::support::eventually(crate::support::SOON, "it is too old", || {
        Subscriber::open(&server.address(), Some(place.cursor())).gap
    });
    place.nanos = sent[1].nanos;
    assert_eq!(behind(&server, &place).unwrap(), []);
}

#[test]
fn nonsense_is_refused_with_field_and_limit() {
    let server = Server::start(&[]);
    let client = raw(&server.address());
    let place = Subscriber::live(&server.address()).place;
    let refused = |cursor: Cursor| {
        let error = call(&client, Some(cursor)).wait().unwrap_err();
        assert_eq!(error.code(), RpcStatusCode::INVALID_ARGUMENT);
        error.message().to_owned()
    };
    let mut cursor = place.cursor();
    cursor.epoch = String::new();
    assert_eq!(refused(cursor.clone()), "after.epoch: is empty");
    cursor.epoch = "x".repeat(65);
    assert_eq!(refused(cursor), "after.epoch: 65 bytes, the limit is 64");
    let mut cursor = place.cursor();
    cursor.send_time = MessageField::none();
    assert_eq!(refused(cursor), "after.send_time: is missing");
    for seconds in [-62_135_596_801, 253_402_300_800] {
        let mut cursor = place.cursor();
        cursor.send_time.as_mut().unwrap().seconds = seconds;
        let range = "is not in -62135596800 to 253402300799";
        let told = format!("after.send_time.seconds: {seconds} {range}");
        assert_eq!(refused(cursor), told);
    }
    for nanos in [-1, 1_000_000_000] {
        let mut cursor = place.cursor();
        cursor.send_time.as_mut().unwrap().nanos = nanos;
        let told = format!("after.send_time.nanos: {nanos} is not in 0 to 999999999");
        assert_eq!(refused(cursor), told);
    }
}

#[test]
fn a_clock_that_steps_makes_no_gap_and_no_double() {
    let clock = Clock::new("+0");
    let variables = clock.variables();
    let arguments = ["server", "--host", "127.0.0.1", "--port", "0"];
    let server = Server::listening(messenger_with(&arguments, &borrowed(&variables)), 1);
    let address = server.address();
    let sender = client(&address);
    let mut subscriber = Subscriber::live(&address);
    let mut sent = Vec::new();
    for offset in ["+0", "-1h", "+2h", "-1d"] {
        clock.step(offset);
        let more = (0..5).map(|_| seen("a", offset, send(&sender, "a", offset)));
        sent.extend(more);
        assert_eq!(subscriber.next().unwrap(), sent[sent.len() - 5]);
        // Four are missed, and come at first.
        subscriber = Subscriber::resume(&address, &subscriber.place);
        assert_eq!(subscriber.take(4), sent[sent.len() - 4..]);
    }
    assert!(sent.is_sorted_by(|a, b| a.nanos < b.nanos));
}
