//! What the console refuses, how it follows the server, and how it ends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;

use super::{JSON, both, call, post_message, text};
use crate::support::SOON;
use crate::support::events::Events;
use crate::support::http::request;
use crate::support::process::Signal;
use crate::support::programs::{Console, Python, Server, free_port};

#[test]
fn what_other_sites_could_send_is_refused_and_every_answer_has_a_policy() {
    let (_server, console) = both(&[]);
    let port = console.port();
    let page = request("GET", port, "/", &[], "");
    assert_eq!(page.status, 200);
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for part in [
        "frame-ancestors 'none'",
        "object-src 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    // Nothing in the page runs that is not a file of ours.
    assert!(!page.body.contains("<script>") && !page.body.contains("style="));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    // What it names is there, and it names what that imports.
    let named = page
        .body
        .split('"')
        .filter(|text| text.starts_with("/assets/"));
    let assets: Vec<String> = named.map(str::to_owned).collect();
    for path in &assets {
        let asset = request("GET", port, path, &[], "");
        assert_eq!(asset.status, 200, "{path}");
        for import in asset.body.split("from \"./").skip(1) {
            let file = import.split('"').next().unwrap_or_default();
            let path = format!("/assets/{file}");
            assert!(assets.contains(&path), "the page does not preload {path}");
        }
    }
    assert!(assets.len() > 8, "{assets:?}");
    let tag = page.header("ETag").expect("a tag").to_owned();
    let known = request("GET", port, "/", &[("If-None-Match", &tag)], "");
    assert_eq!((known.status, known.body.as_str()), (304, ""));

    let body = r#"{"author":"a","text":"b"}"#;
    let plain = [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/jsonx"),
    ];
    for headers in [&[][..], &plain[..1], &plain[1..]] {
        let answer = request("POST", port, "/api/chat", headers, body);
        assert_eq!(answer.status, 415, "{headers:?}");
    }
    let with_charset = ("Content-Type", "application/json; charset=utf-8");
    let answer = request("POST", port, "/api/chat", &[with_charset], body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    // A name that was pointed at this machine.
    let answer = request("GET", port, "/", &[("Host", "evil.example")], "");
    assert_eq!(answer.status, 421);
    for (method, path, status) in [
        ("GET", "/assets/../mod.rs", 404),
        ("GET", "/api", 404),
        ("GET", "/api/chat", 405),
        ("POST", "/", 405),
        ("POST", "/events", 405),
    ] {
        let answer = request(method, port, path, &[JSON], "");
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert!(answer.header("Content-Security-Policy").is_some());
        assert!(answer.json()["error"]["code"].is_string());
    }
    for (path, body) in [
        ("/api/chat", json!([])),
        ("/api/tasks", json!({"title": ""})),
        ("/api/tasks", json!({"name": "x"})),
        ("/api/tasks/complete", json!({"id": "1"})),
    ] {
        let answer = call(port, path, &body);
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (400, Some("INVALID_ARGUMENT")),
            "{path}"
        );
    }
}

#[test]
fn a_python_server_has_a_chat_and_nothing_else() {
    let server = Python::server();
    let console = Console::start(&server.address(), &[]);
    let page = Events::open(console.port(), "symbols=A");
    let mut state = HashMap::new();
    while state.values().filter(|missing| **missing).count() < 4 {
        let status = page.named("status").data;
        let service = status["service"].as_str().unwrap().to_owned();
        assert!(service == "chat" || status["up"] == false, "{status}");
        state.insert(service, status["missing"] == true);
    }
    assert!(!state["chat"]);
    post_message(console.port(), "over to Python and back");
    assert_eq!(text(&page.named("chat")), "over to Python and back");
}

#[test]
fn a_server_that_hangs_is_noticed_though_no_stream_ends() {
    let (server, console) = both(&[]);
    let page = Events::open(console.port(), "");
    page.named("tasks");
    server.stop();
    for _ in 0..3 {
        assert_eq!(page.named("status").data["up"], false);
    }
    server.signal(Signal::CONT);
    for _ in 0..3 {
        assert_eq!(page.named("status").data["up"], true);
    }
    post_message(console.port(), "again");
    assert_eq!(text(&page.named("chat")), "again");
}

#[test]
fn the_end_comes_quickly_with_pages_open() {
    let (_server, mut console) = both(&[]);
    let pages: Vec<_> = (0..20)
        .map(|_| Events::open(console.port(), "symbols=A"))
        .collect();
    pages.iter().for_each(|page| drop(page.named("hello")));
    console.signal(Signal::TERM);
    assert_eq!(console.wait_exit(Duration::from_secs(3)), 0);
    pages.iter().for_each(|page| page.end(SOON));
}

#[test]
fn the_end_comes_without_a_server_too() {
    let mut console = Console::start(&format!("127.0.0.1:{}", free_port()), &[]);
    let page = Events::open(console.port(), "");
    page.named("hello");
    let status = page.named("status").data;
    assert!(
        status["up"] == false && status["reason"].is_string(),
        "{status}"
    );
    let answer = call(console.port(), "/api/tasks", &json!({"title": "x"}));
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (503, Some("UNAVAILABLE"))
    );
    console.signal(Signal::TERM);
    assert_eq!(console.wait_exit(Duration::from_secs(6)), 0);
    page.end(SOON);
}

#[test]
fn a_server_that_comes_back_is_followed_and_the_gap_is_told() {
    let port = free_port();
    let mut server = Server::start_on(port, &[]);
    let console = Console::start(&server.address(), &[]);
    let page = Events::open(console.port(), "symbols=A");
    let last = page.named("hello").id;
    call(console.port(), "/api/tasks", &json!({"title": "in memory"}));
    page.named("task");
    page.named("quote");
    server.signal(Signal::KILL);
    server.wait_exit(SOON);
    let down = |page: &Events, up: bool| {
        let mut left = HashSet::from(["chat", "todo", "ticker"].map(String::from));
        while !left.is_empty() {
            let status = page.named("status").data;
            if status["up"] == up {
                left.remove(status["service"].as_str().unwrap());
            }
        }
    };
    let watcher = Events::open(console.port(), "");
    down(&watcher, false);
    let list = Events::open(console.port(), "");
    list.named("tasks");
    let _server = Server::start_on(port, &[]);
    page.named("gap");
    let tasks = list.named("tasks").data;
    assert_eq!(tasks, json!({"tasks": []}), "this server has its own list");
    down(&watcher, true);
    page.named("quote");
    post_message(console.port(), "again");
    assert_eq!(text(&page.named("chat")), "again");
    // Who was away all the time hears of the gap too.
    let back = Events::open_from(console.port(), "", last.as_deref());
    assert_eq!(back.named("gap").name, "gap");
    assert_eq!(text(&back.named("chat")), "again");
}
