//! What the chat takes and what it refuses, by field and by number.

use std::time::Duration;

use messenger::error::{Code, Error};

use crate::support::http::seen;
use crate::support::programs::{Program, Server};
use crate::support::rpc::{Reader, client, receive, send, subscribe};
use crate::support::{SOON, eventually};

fn refused(server: &Program, author: &str, text: &str) -> Error {
    let sent = client(&server.address()).send(author, text, SOON);
    sent.expect_err("a refusal")
}

#[test]
fn an_author_of_256_bytes_passes_and_one_byte_more_is_named() {
    let server = Server::start(&[]);
    let reader = Reader::start(&server.address());
    // 128 letters of two bytes: bytes count, not letters.
    let longest = "ж".repeat(128);
    let time = send(&client(&server.address()), &longest, "");
    let error = refused(&server, &format!("{longest}x"), "");
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "author: 257 bytes, the limit is 256");
    let after = send(&client(&server.address()), "", "after");
    assert_eq!(reader.seen(), seen(&longest, "", time));
    assert_eq!(
        reader.seen(),
        seen("", "after", after),
        "what was refused is sent to nobody"
    );
}

#[test]
fn a_text_of_256_kib_passes_and_one_byte_more_is_named() {
    let server = Server::start(&[]);
    let reader = Reader::start(&server.address());
    let longest = "x".repeat(256 * 1024);
    let time = send(&client(&server.address()), "a", &longest);
    let error = refused(&server, "a", &format!("{longest}x"));
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "text: 262145 bytes, the limit is 262144");
    assert!(reader.seen() == seen("a", &longest, time));
}

#[test]
fn a_request_over_512_kib_is_not_received() {
    let server = Server::start(&["--max-text-bytes", "1000000"]);
    let sender = client(&server.address());
    let (mut stream, _) = sender.subscribe(SOON, SOON).unwrap();
    send(&sender, "a", &"x".repeat(512 * 1024 - 100));
    let error = sender
        .send("a", &"x".repeat(512 * 1024 + 1), SOON)
        .unwrap_err();
    assert_eq!(error.code, Code::ResourceExhausted, "{error}");
    assert!(error.message.contains("524288"), "{error}");
    // The connection and its other calls live on.
    let time = send(&sender, "a", "small");
    assert_eq!(receive(&mut stream).unwrap().text.len(), 512 * 1024 - 100);
    assert_eq!(receive(&mut stream).unwrap().send_time.nanos(), time);
}

#[test]
fn limits_are_flags() {
    let server = Server::start(&[
        "--max-author-bytes",
        "3",
        "--max-text-bytes",
        "5",
        "--max-receive-bytes",
        "100",
    ]);
    send(&client(&server.address()), "abc", "12345");
    assert_eq!(
        refused(&server, "abcd", "").message,
        "author: 4 bytes, the limit is 3"
    );
    assert_eq!(
        refused(&server, "", "123456").message,
        "text: 6 bytes, the limit is 5"
    );
    let error = refused(&server, "", &"x".repeat(101));
    assert_eq!(error.code, Code::ResourceExhausted);
    assert!(error.message.contains("100"), "{error}");
}

#[test]
fn the_fourth_of_three_streams_is_refused_until_one_leaves() {
    let server = Server::start(&["--max-streams", "3"]);
    let connection = client(&server.address());
    let mut streams: Vec<_> = (0..3).map(|_| subscribe(&connection).unwrap()).collect();
    let error = subscribe(&connection).err().expect("a refusal");
    assert_eq!(error.code, Code::ResourceExhausted);
    assert_eq!(error.message, "streams: 3 are open, which is the limit");
    server.wait_for_threads("subscribe-", 3);
    drop(streams.remove(0));
    eventually(
        Duration::from_secs(2),
        "a place is free again",
        || match subscribe(&connection) {
            Ok(stream) => {
                streams.push(stream);
                true
            }
            Err(error) => {
                assert_eq!(error.code, Code::ResourceExhausted);
                false
            }
        },
    );
    let time = send(&connection, "a", "to all three");
    for stream in &mut streams {
        assert_eq!(receive(stream).unwrap().send_time.nanos(), time);
    }
}

#[test]
fn refused_streams_leave_no_threads_behind() {
    let server = Server::start(&["--max-streams", "1"]);
    let connection = client(&server.address());
    let _only = subscribe(&connection).unwrap();
    let before = server.threads_named("");
    for _ in 0..100 {
        assert!(subscribe(&connection).is_err());
    }
    // The C core starts helpers of its own, but not one for each call.
    assert!(server.threads_named("") < before + 20);
    server.wait_for_threads("subscribe-", 1);
}

#[test]
fn empty_messages_are_messages() {
    let server = Server::start(&[]);
    let reader = Reader::start(&server.address());
    let sender = client(&server.address());
    for (author, text) in [("", ""), ("a", ""), ("", "t")] {
        let time = send(&sender, author, text);
        assert_eq!(reader.seen(), seen(author, text, time));
    }
}
