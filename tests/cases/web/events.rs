//! A page's stream of events: what it starts with, what it misses, what it costs.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use super::{both, call, post_message, text};
use crate::support::events::Events;
use crate::support::{SOON, eventually};

#[test]
fn a_page_starts_with_the_state_and_then_gets_every_change() {
    let (_server, console) = both(&[]);
    let port = console.port();
    let answer = call(port, "/api/tasks", &json!({"title": "first"}));
    let first = json!({"id": 1, "title": "first", "completed": false});
    assert_eq!(answer.json(), first);
    post_message(port, "from before");
    let events = Events::open(port, "");
    assert!(events.named("hello").id.is_some());
    let services: Vec<_> = (0..3).map(|_| events.named("status").data).collect();
    let names: Vec<_> = services
        .iter()
        .map(|s| s["service"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["chat", "todo", "ticker"]);
    assert!(
        services.iter().all(|status| status["up"] == true),
        "{services:?}"
    );
    // The change may come after the list that has it.
    let tasks = events.named("tasks").data;
    assert!(tasks == json!({"tasks": [first]}) || tasks == json!({"tasks": []}));
    let answer = call(port, "/api/tasks/complete", &json!({"id": 1}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    loop {
        let change = events.named("task").data;
        if change["action"] == "COMPLETED" {
            let task = json!({"id": 1, "title": "first", "completed": true});
            assert_eq!(change["task"], task);
            break;
        }
    }
    post_message(port, "now");
    let chat = events.named("chat");
    assert_eq!(text(&chat), "now", "and nothing from before");
    assert_eq!(chat.data["author"], "anna");
    let answer = call(port, "/api/tasks/complete", &json!({"id": 7}));
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (404, Some("NOT_FOUND"))
    );
}

#[test]
fn a_page_that_comes_back_gets_each_message_exactly_once() {
    let (_server, console) = both(&[]);
    let port = console.port();
    let mut last = Events::open(port, "").named("hello").id.expect("an id");
    let speaker = thread::spawn(move || (0..300).for_each(|n| post_message(port, &n.to_string())));
    // Its connection is lost again and again while people speak.
    let mut seen = Vec::new();
    for round in 0.. {
        // A browser says it in a header, and the page in the address; the
        // address may be an old one.
        let (query, header) = if round % 2 == 0 {
            ("after=0-0", Some(last.as_str()))
        } else {
            (&*format!("after={last}"), None)
        };
        let events = Events::open_from(port, query, header);
        for _ in 0..9 {
            let event = events.next();
            assert_ne!(event.name, "gap");
            if event.name == "chat" {
                seen.push(text(&event).to_owned());
            }
            last = event.id.unwrap_or(last);
            if seen.len() == 300 {
                break;
            }
        }
        if seen.len() == 300 {
            break;
        }
        assert!(round < 300, "only {} messages", seen.len());
    }
    speaker.join().expect("a speaker");
    let spoken: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(seen, spoken);
}

#[test]
fn an_id_of_another_process_or_one_that_is_too_old_is_a_gap() {
    let (_server, console) = both(&[]);
    let port = console.port();
    let oldest = Events::open(port, "").named("hello").id.expect("an id");
    let first = |query: &str| Events::open(port, query).next().name;
    assert_eq!(first("after=0-0"), "gap");
    assert_eq!(first("after=nonsense"), "gap");
    assert_eq!(first(&format!("after={oldest}")), "hello");
    assert_eq!(first(""), "hello");
    let events = Events::open(port, "");
    for n in 0..1_001 {
        post_message(port, &n.to_string());
    }
    (0..1_000).for_each(|_| drop(events.named("chat")));
    assert_eq!(text(&events.named("chat")), "1000");
    assert_eq!(
        first(&format!("after={oldest}")),
        "gap",
        "1,000 messages are kept"
    );
    let second = oldest.replace("-0", "-1");
    assert_eq!(first(&format!("after={second}")), "chat");
}

#[test]
fn quotes_go_on_and_only_to_pages_that_show_the_symbol() {
    let (_server, console) = both(&["--ticker-interval", "50ms", "--ticker-updates", "2"]);
    let port = console.port();
    let [a, b] = [
        "symbols=AAPL",
        "symbols=%D0%A1%D0%B1%D0%B5%D1%80,A%26B%2Caapl",
    ]
    .map(|query| Events::open(port, query));
    let quotes = |events: &Events, count: usize| {
        (0..count)
            .map(|_| events.named("quote").data)
            .collect::<Vec<_>>()
    };
    let symbols = |quotes: &[Value]| {
        let symbols = quotes
            .iter()
            .map(|quote| quote["symbol"].as_str().unwrap().to_owned());
        symbols.collect::<HashSet<_>>()
    };
    let seen = quotes(&a, 25);
    assert_eq!(symbols(&seen), HashSet::from(["AAPL".into()]));
    let same = seen.windows(2).filter(|two| two[0] == two[1]).count();
    assert_eq!(same, 0, "a quote comes once");
    let seen = quotes(&b, 50);
    assert_eq!(
        symbols(&seen),
        HashSet::from(["Сбер".into(), "A&B".into(), "aapl".into()])
    );
    // Who comes later sees the newest quote at once, and a symbol stays alive
    // when one of its pages leaves.
    let late = Events::open(port, "symbols=AAPL");
    quotes(&late, 1);
    drop(a);
    quotes(&late, 10);
}

#[test]
fn symbols_that_cannot_be_had_are_refused_and_the_others_come() {
    let (_server, console) = both(&["--ticker-interval", "50ms"]);
    let port = console.port();
    let many: Vec<_> = (0..100).map(|n| format!("S{n}")).collect();
    let full = Events::open(port, &format!("symbols={}", many.join(",")));
    full.named("quote");
    let long = "L".repeat(33);
    let late = Events::open(port, &format!("symbols=S5,TOO-MANY,{long}"));
    let refused = late.named("refused").data;
    assert_eq!(refused["symbols"], json!(["TOO-MANY", long]));
    assert_eq!(refused["count"], 2);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("100 symbols"), "{message}");
    assert_eq!(late.named("quote").data["symbol"], "S5");
}

#[test]
fn a_page_that_does_not_read_is_cut_and_the_others_miss_nothing() {
    let (_server, console) = both(&[]);
    let port = console.port();
    let mut slow = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    slow.set_read_timeout(Some(2 * SOON)).expect("a timeout");
    let head =
        format!("GET /events HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    slow.write_all(head.as_bytes()).expect("a request");
    let events = Events::open(port, "");
    events.named("hello");
    let connections = || console.threads_named("http-conn");
    eventually(SOON, "both pages are there", || connections() == 2);
    // More than the sockets and its backlog take.
    let long = "x".repeat(200_000);
    for n in 0..200 {
        post_message(port, &format!("{n} {long}"));
        let seen = events.named("chat");
        assert!(text(&seen).starts_with(&format!("{n} ")));
    }
    // Its backlog is long over the bound. Only now it reads, and gets what was under
    // way and the end.
    let mut got = Vec::new();
    let end = slow.read_to_end(&mut got);
    assert!(
        got.len() < 200 * long.len(),
        "it was cut in the middle: {end:?}"
    );
    eventually(SOON, "its connection is free", || connections() == 1);
    // It may come back, as browsers do.
    Events::open(port, "").named("hello");
}
