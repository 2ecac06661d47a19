//! The bridge as people use it: what it answers, and that it misses nothing.

use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::json;

use crate::support::http::{Answer, flush, messages, post, request, seen, send as post_message};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Server, accepts, free_port, messenger};
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy, nanos};

const FLUSH: &str = "/getAndFlushMessages";

/// The error's code and message, which are all that is in the body.
fn error(answer: &Answer) -> (u16, String, String) {
    let json = answer.json();
    let text = |field: &str| json["error"][field].as_str().unwrap_or_default().to_owned();
    (answer.status, text("code"), text("message"))
}

#[test]
fn what_is_sent_comes_back_once_in_server_order_to_every_bridge() {
    let server = Server::start(&[]);
    let bridges = [(); 2].map(|()| Bridge::start(&server.address(), &[]));
    let mut sent = Vec::new();
    for (number, author) in ["анна", "", "\u{1f980}\"\\\n\0"]
        .into_iter()
        .cycle()
        .take(30)
        .enumerate()
    {
        let text = format!("{number} 世界");
        let time = post_message(bridges[number % 2].port(), author, &text);
        sent.push(seen(author, &text, time));
    }
    for bridge in &bridges {
        let mut got = Vec::new();
        eventually(SOON, "all messages", || {
            got.extend(flush(bridge.port()));
            got.len() >= sent.len()
        });
        assert_eq!(got, sent);
        assert_eq!(flush(bridge.port()), []);
    }
}

#[test]
fn times_have_nine_digits_and_answers_their_content_type() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let sent = request(
        "POST",
        bridge.port(),
        "/sendMessage",
        &form,
        r#"{"author":"a","text":"ж"}"#,
    );
    let mut flushed = post(bridge.port(), FLUSH, "ignored");
    eventually(SOON, "the message", || {
        if flushed.body == "[]" {
            flushed = post(bridge.port(), FLUSH, "");
        }
        flushed.body != "[]"
    });
    for answer in [&sent, &flushed] {
        assert_eq!(answer.status, 200);
        let content_type = answer.header("Content-Type");
        assert_eq!(content_type, Some("application/json; charset=utf-8"));
    }
    let time = sent.json()["sendTime"].as_str().unwrap().to_owned();
    assert!(
        time.len() == 30 && time.ends_with('Z') && time.as_bytes()[19] == b'.',
        "{time}"
    );
    assert_eq!(sent.json(), json!({"sendTime": time}));
    assert_eq!(
        flushed.json(),
        json!([{"author": "a", "text": "ж", "sendTime": time}])
    );
}

#[test]
fn absent_and_empty_fields_are_valid_and_wrong_ones_are_named() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    for body in ["{}", r#"{"author":null,"text":""}"#, r#" {"text":"t"} "#] {
        let answer = post(bridge.port(), "/sendMessage", body);
        assert_eq!(answer.status, 200, "{body}");
        nanos(answer.json()["sendTime"].as_str().unwrap());
    }
    for (body, named) in [
        (r#"{"author":5}"#, "author"),
        (r#"{"author":"a","text":["t"]}"#, "text"),
        (r#"{"autor":"a"}"#, "autor"),
        ("[]", "object"),
        ("", "JSON"),
        (r#"{"author":"a""#, "JSON"),
        ("author=a&text=b", "JSON"),
    ] {
        let (status, code, message) = error(&post(bridge.port(), "/sendMessage", body));
        assert_eq!((status, &*code), (400, "INVALID_ARGUMENT"), "{body}");
        assert!(message.contains(named), "{body}: {message}");
    }
    eventually(SOON, "three messages", || {
        flush(bridge.port()).iter().any(|m| m.text == "t")
    });
}

#[test]
fn refusals_of_the_server_have_their_http_status() {
    let server = Server::start(&["--max-receive-bytes", "1000"]);
    let bridge = Bridge::start(&server.address(), &[]);
    let body = |author: &str, text: &str| json!({"author": author, "text": text}).to_string();
    let long_author = post(bridge.port(), "/sendMessage", &body(&"a".repeat(257), ""));
    let (status, code, message) = error(&long_author);
    assert_eq!((status, &*code), (400, "INVALID_ARGUMENT"));
    assert_eq!(message, "author: 257 bytes, the limit is 256");
    let long_text = post(bridge.port(), "/sendMessage", &body("", &"a".repeat(2000)));
    let (status, code, _) = error(&long_text);
    assert_eq!((status, &*code), (429, "RESOURCE_EXHAUSTED"));
    assert_eq!(flush(bridge.port()), []);
}

#[test]
fn other_paths_and_methods_are_told_so() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    for path in [
        "/nothing",
        "/sendmessage",
        "/sendMessage/",
        "/getAndFlushMessages/x",
    ] {
        for method in ["GET", "POST"] {
            let answer = request(method, bridge.port(), path, &[], "{}");
            let (status, code, message) = error(&answer);
            assert_eq!((status, &*code), (404, "NOT_FOUND"), "{method} {path}");
            assert!(message.contains(path), "{message}");
        }
    }
    for (path, allow) in [
        ("/sendMessage", "POST"),
        (FLUSH, "POST"),
        ("/", "GET, HEAD"),
    ] {
        for method in [
            "PUT",
            "DELETE",
            "PATCH",
            if allow == "POST" { "GET" } else { "POST" },
        ] {
            let answer = request(method, bridge.port(), path, &[], "");
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("Allow"), Some(allow), "{method} {path}");
        }
    }
    let page = request("GET", bridge.port(), "/", &[], "");
    assert_eq!(page.status, 200);
    assert!(page.header("Content-Type").unwrap().starts_with("text/"));
    assert!(page.body.contains("/sendMessage") && page.body.contains(FLUSH));
    let head = request("HEAD", bridge.port(), "/", &[], "");
    assert_eq!((head.status, &*head.body), (200, ""));
}

#[test]
fn a_query_does_not_hide_a_path() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    assert_eq!(post(bridge.port(), "/sendMessage?x=1", "{}").status, 200);
    assert_eq!(
        post(bridge.port(), "/getAndFlushMessages?x=1", "").status,
        200
    );
}

#[test]
fn what_is_sent_once_the_port_accepts_is_never_missed_in_two_hundred_starts() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let sender = client(&server.address());
    for round in 0..200 {
        let port = free_port();
        let mut bridge = Bridge::spawn(&server.address(), port, &[]);
        let started = Instant::now();
        while !accepts(port) {
            assert!(
                started.elapsed() < SOON && bridge.is_alive(),
                "the port does not open"
            );
            thread::yield_now();
        }
        let text = round.to_string();
        let time = send(&sender, "a", &text);
        let mut got = Vec::new();
        eventually(Duration::from_secs(5), "the message in a flush", || {
            got.extend(flush(port));
            !got.is_empty()
        });
        assert_eq!(got, [seen("a", &text, time)], "round {round}");
    }
}

#[test]
fn concurrent_flushes_share_the_messages_and_each_comes_once() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let port = bridge.port();
    let (over_sender, over) = crossbeam_channel::bounded::<()>(0);
    let flushers = [(); 4].map(|()| {
        let over = over.clone();
        thread::spawn(move || {
            let mut got = Vec::new();
            let mut last_round = false;
            loop {
                let array = messages(&post(port, FLUSH, "").json());
                let rising = array.windows(2).all(|pair| pair[0].nanos < pair[1].nanos);
                assert!(rising, "each flush is in server order");
                got.extend(array);
                if last_round {
                    return got;
                }
                last_round = over.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected);
            }
        })
    });
    let sender = client(&server.address());
    let sent: Vec<_> = (0..500)
        .map(|n| (n, send(&sender, "a", &n.to_string())))
        .collect();
    // Once a bridge has the last one, it has all of them.
    drop(over_sender);
    let mut got: Vec<_> = flushers
        .into_iter()
        .flat_map(|f| f.join().unwrap())
        .collect();
    eventually(SOON, "the rest", || {
        got.extend(flush(port));
        got.len() >= sent.len()
    });
    got.sort_by_key(|message| message.nanos);
    let sent: Vec<_> = sent
        .iter()
        .map(|(n, time)| seen("a", &n.to_string(), *time))
        .collect();
    assert_eq!(got, sent);
}

#[test]
fn a_signal_ends_the_bridge_with_and_without_a_server() {
    let server = Server::start(&[]);
    for signal in [Signal::TERM, Signal::INT] {
        let mut bridge = Bridge::start(&server.address(), &[]);
        bridge.signal(signal);
        assert_eq!(bridge.wait_exit(Duration::from_secs(5)), 0);
        let nobody = format!("127.0.0.1:{}", free_port());
        let mut bridge = Bridge::start(&nobody, &["--connect-wait", "100ms"]);
        bridge.signal(signal);
        assert_eq!(bridge.wait_exit(Duration::from_secs(5)), 0);
        // While it still waits for its first subscription.
        let mut bridge = Bridge::spawn(&nobody, 0, &["--connect-wait", "60s"]);
        bridge.wait_for_log(SOON, "cannot subscribe");
        bridge.signal(signal);
        assert_eq!(bridge.wait_exit(Duration::from_secs(5)), 0);
    }
}

#[test]
fn a_busy_http_port_is_refused_with_one_line() {
    let server = Server::start(&[]);
    let first = Bridge::start(&server.address(), &[]);
    let mut second = Bridge::spawn(&server.address(), first.port(), &[]);
    assert!(second.wait_exit(SOON) > 0);
    let log = second.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(&first.port().to_string()), "{log}");
}

#[test]
fn a_pinned_bridge_runs_on_one_processor() {
    let allowed = fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    let first: String = allowed
        .unwrap()
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &["--pin-cpu", &first]);
    let threads = fs::read_dir(format!("/proc/{}/task", bridge.pid())).unwrap();
    let mut count = 0;
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status"));
        // One that has just ended.
        let Ok(status) = status else { continue };
        let list = status
            .lines()
            .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
        assert_eq!(list.unwrap().trim(), first);
        count += 1;
    }
    assert!(count > 3, "{count} threads are not all of a bridge");
    let mut nowhere = messenger(&["client", "--pin-cpu", "60000"]);
    assert_eq!(nowhere.wait_exit(SOON), 1);
    assert!(nowhere.log().contains("--pin-cpu 60000: no such processor"));
}
