//! Where to go on is in the status with which a subscription ends.

use std::thread;

use grpcio::{RpcStatus, RpcStatusCode};
use messenger::chat::wire::Cursor;
use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::empty::Empty;
use protobuf::{Message as _, UnknownValueRef};

use super::{Place, Subscriber};
use crate::support::http::seen;
use crate::support::process::Signal;
use crate::support::programs::Server;
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually};

/// The cursor among the details, which are a google.rpc.Status.
fn told(status: &RpcStatus) -> Place {
    let details = Empty::parse_from_bytes(status.details()).unwrap();
    let fields = details.unknown_fields();
    let field = |number| fields.get(number).expect("a google.rpc.Status");
    let UnknownValueRef::Varint(code) = field(1) else {
        panic!("no code in {fields:?}");
    };
    assert_eq!(code as i32, i32::from(status.code()));
    let UnknownValueRef::LengthDelimited(detail) = field(3) else {
        panic!("no detail in {fields:?}");
    };
    let detail = Any::parse_from_bytes(detail).unwrap();
    assert_eq!(detail.type_url, "type.googleapis.com/messenger.v1.Cursor");
    Place::of(&Cursor::parse_from_bytes(&detail.value).unwrap())
}

#[test]
fn a_slow_consumer_goes_on_behind_the_last_message_that_it_got() {
    let server = Server::start(&["--backlog-bytes", "1048576"]);
    let address = server.address();
    let mut lazy = Subscriber::live(&address);
    let sender = client(&address);
    let mut sent = Vec::new();
    while !server.log().contains("slow consumer cut") {
        assert!(sent.len() < 240, "15 MiB are no backlog of 1 MiB");
        let text = format!("{}{}", "x".repeat(64 * 1024), sent.len());
        sent.push(seen("a", &text, send(&sender, "a", &text)));
    }
    let mut read = Vec::new();
    let end = loop {
        match lazy.next() {
            Ok(message) => read.push(message),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), RpcStatusCode::RESOURCE_EXHAUSTED);
    assert!(read.len() < sent.len());
    assert_eq!(told(&end), lazy.place);
    let rest = Subscriber::resume(&address, &told(&end)).take(sent.len() - read.len());
    read.extend(rest);
    assert!(read == sent, "each once, in order");
}

#[test]
fn a_stream_that_reaches_its_age_goes_on_where_it_was() {
    let server = Server::start(&["--max-stream-age", "1s"]);
    let address = &server.address();
    let mut subscriber = Subscriber::live(address);
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let sender = client(address);
            let mut sent = Vec::new();
            while stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                sent.push(seen("a", "b", send(&sender, "a", "b")));
            }
            sent
        });
        let mut read = Vec::new();
        for _ in 0..3 {
            let end = loop {
                match subscriber.next() {
                    Ok(message) => read.push(message),
                    Err(end) => break end,
                }
            };
            assert_eq!(end.message(), "max stream age");
            assert_eq!(told(&end), subscriber.place);
            subscriber = Subscriber::resume(address, &told(&end));
        }
        drop(stop);
        let sent = sending.join().unwrap();
        read.extend(subscriber.take(sent.len() - read.len()));
        assert!(read == sent, "each once, in order");
    });
}

#[test]
fn at_a_shutdown_the_place_is_told_and_another_run_tells_the_gap() {
    let mut server = Server::start(&[]);
    let mut quiet = Subscriber::live(&server.address());
    let start = quiet.place.clone();
    server.signal(Signal::TERM);
    let end = quiet.next().unwrap_err();
    assert_eq!(end.code(), RpcStatusCode::UNAVAILABLE);
    assert_eq!(end.message(), "shutting down");
    assert_eq!(told(&end), start, "nothing came");
    server.wait_exit(SOON);
    let again = Server::start_on(server.port(), &[]);
    eventually(SOON, "the port is open", || {
        crate::support::programs::accepts(again.port())
    });
    let subscriber = Subscriber::open(&again.address(), Some(start.cursor()));
    assert!(subscriber.gap);
    assert_ne!(subscriber.place.epoch, start.epoch);
}
