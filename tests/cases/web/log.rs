//! The message log as a page gets it.

use std::thread;

use serde_json::{Value, json};

use super::{JSON, WithLog, both, call, post_message, text, with_log};
use crate::support::SOON;
use crate::support::events::{Event, Events};
use crate::support::history::{say, shown};
use crate::support::http::request;
use crate::support::process::Signal;
use crate::support::programs::{Console, Server, free_port};

fn number(event: &Event) -> i64 {
    event.data["number"].as_i64().expect("a number")
}

/// The state of the log's service, past those of others.
fn state(events: &Events) -> Value {
    loop {
        let status = events.named("status").data;
        if status["service"] == "history" {
            return status;
        }
    }
}

#[test]
fn a_page_starts_with_the_newest_and_then_gets_every_message_of_all_replicas() {
    let WithLog {
        store: _store,
        replicas,
        console,
        server: _server,
    } = with_log(&[]);
    let ports: Vec<_> = replicas.iter().map(|log| log.port()).collect();
    let early = Events::open(console.port(), "");
    assert_eq!(state(&early)["up"], true);
    let empty = json!({"messages": [], "senders": []});
    assert_eq!(early.named("history").data, empty);
    for n in 0..120 {
        say(ports[n % 2], ["anna", "ben"][n % 3 / 2], "x");
    }
    for n in 1..=120 {
        assert_eq!(number(&early.named("entry")), n);
    }
    let late = Events::open(console.port(), "");
    let log = late.named("history").data;
    let messages = log["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 100, "the newest");
    assert_eq!(
        (&messages[0]["number"], &messages[99]["number"]),
        (&json!(21), &json!(120))
    );
    let senders = json!([{"count": 80, "sender": "anna"}, {"count": 40, "sender": "ben"}]);
    assert_eq!(log["senders"], senders);

    // Through the console itself, and at the same time through the other replica.
    let port = console.port();
    let speakers = [
        thread::spawn(move || {
            for n in 0..50 {
                let answer = call(
                    port,
                    "/api/history",
                    &json!({"sender": "Zoë", "text": n.to_string()}),
                );
                let last = shown(&answer).pop().expect("a message");
                assert_eq!((last.1, last.2), (n + 1, n.to_string()));
            }
        }),
        thread::spawn(move || (0..50).for_each(|_| drop(say(ports[1], "ben", "y")))),
    ];
    let entries: Vec<_> = (0..100).map(|_| late.named("entry")).collect();
    speakers
        .into_iter()
        .for_each(|s| s.join().expect("one who speaks"));
    let numbers: Vec<_> = entries.iter().map(number).collect();
    assert_eq!(numbers, (121..=220).collect::<Vec<_>>());
    let zoe = entries.iter().filter(|e| e.data["sender"] == "Zoë");
    let counts: Vec<_> = zoe
        .map(|e| e.data["senderCount"].as_i64().unwrap())
        .collect();
    assert_eq!(counts, (1..=50).collect::<Vec<_>>());

    let page = request("GET", port, "/api/history?limit=3&before=4", &[], "");
    let page = shown(&page);
    assert_eq!(page.iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn errors_of_the_log_are_passed_on_and_other_sites_are_refused() {
    let WithLog {
        store: _store,
        mut replicas,
        console,
        server: _server,
    } = with_log(&[]);
    let port = console.port();
    let message = |answer: &crate::support::http::Answer| {
        answer.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let long = json!({"sender": "x".repeat(257), "text": ""});
    for (body, named) in [
        (long, "sender: 257 bytes, the limit is 256"),
        (json!({"sender": "a"}), "\"text\" is missing"),
    ] {
        let answer = call(port, "/api/history", &body);
        assert_eq!((answer.status, &*message(&answer)), (400, named));
    }
    let answer = request("GET", port, "/api/history?before=x", &[], "");
    assert_eq!(answer.status, 400);
    assert!(message(&answer).starts_with("before:"), "{}", answer.body);
    for (method, path, headers, status) in [
        ("POST", "/api/history", &[][..], 415),
        ("PUT", "/api/history", &[JSON][..], 405),
        ("GET", "/api/history", &[("Host", "evil.example")][..], 421),
    ] {
        let answer = request(method, port, path, headers, r#"{"sender":"a","text":"b"}"#);
        assert_eq!(answer.status, status, "{method} {path}");
    }
    replicas[0].signal(Signal::KILL);
    replicas[0].wait_exit(SOON);
    let answer = call(port, "/api/history", &json!({"sender": "a", "text": "b"}));
    assert_eq!(answer.status, 503);
    assert!(
        message(&answer).contains("may have been stored or not"),
        "{}",
        answer.body
    );
    // The rest of the console goes on.
    let page = Events::open(port, "");
    post_message(port, "still here");
    assert_eq!(text(&page.named("chat")), "still here");
}

#[test]
fn a_console_without_a_log_says_so_and_opens_at_once() {
    let (_server, console) = both(&[]);
    let page = Events::open(console.port(), "");
    let status = state(&page);
    assert_eq!(
        (&status["up"], &status["missing"]),
        (&json!(false), &json!(true))
    );
    let answer = call(
        console.port(),
        "/api/history",
        &json!({"sender": "a", "text": "b"}),
    );
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (501, Some("UNIMPLEMENTED"))
    );
}

#[test]
fn a_log_that_hangs_or_ends_is_told_and_followed_again_without_a_hole() {
    let WithLog {
        store,
        mut replicas,
        console,
        server: _server,
    } = with_log(&[]);
    let page = Events::open(console.port(), "");
    say(replicas[1].port(), "anna", "before");
    assert_eq!(number(&page.named("entry")), 1);
    replicas[0].stop();
    let down = state(&page);
    assert_eq!(
        (&down["up"], &down["missing"]),
        (&json!(false), &json!(false))
    );
    say(replicas[1].port(), "anna", "meanwhile");
    replicas[0].signal(Signal::CONT);
    let log = page.named("history").data;
    assert_eq!(log["messages"].as_array().unwrap().len(), 2);
    assert_eq!(state(&page)["up"], true);

    let port = replicas[0].port().to_string();
    replicas[0].signal(Signal::TERM);
    assert_eq!(replicas[0].wait_exit(SOON), 0);
    assert_eq!(state(&page)["up"], false);
    say(replicas[1].port(), "anna", "and again");
    let _replica = store.replica(&["--http-port", &port], &[]);
    let log = page.named("history").data;
    assert_eq!(log["senders"], json!([{"sender": "anna", "count": 3}]));
    say(replicas[1].port(), "ben", "after");
    assert_eq!(number(&page.named("entry")), 4);
}

#[test]
fn the_end_comes_quickly_with_a_log_and_without_it() {
    let mut log = with_log(&[]);
    let page = Events::open(log.console.port(), "");
    page.named("history");
    log.console.signal(Signal::TERM);
    assert_eq!(log.console.wait_exit(SOON / 5), 0);
    page.end(SOON);
    let server = Server::start(&[]);
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut console = Console::start(&server.address(), &["--history", &nowhere]);
    let page = Events::open(console.port(), "");
    let status = state(&page);
    let reason = status["reason"].as_str().unwrap();
    assert!(
        status["up"] == false && reason.contains(&nowhere),
        "{status}"
    );
    console.signal(Signal::TERM);
    assert_eq!(console.wait_exit(SOON / 5), 0);
}
