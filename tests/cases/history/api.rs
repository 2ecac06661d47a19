//! What the log takes and answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::history::{Store, say, shown};
use crate::support::http::{post, request};
use crate::support::process::Signal;
use crate::support::programs::messenger;

fn answers(store: &Store) {
    let mut log = store.replica(&[], &[]);
    let port = log.port();
    assert_eq!(
        shown(&say(port, "анна", "a\u{1}\"é")),
        [(1, 1, "a\u{1}\"é".into())]
    );
    let body = r#"{"text":"","sender":"b"}"#;
    let second = shown(&post(port, "/messages", body));
    assert_eq!(second.last(), Some(&(2, 1, String::new())));
    for n in 3..=25 {
        let ten = shown(&say(port, "анна", &n.to_string()));
        let numbers: Vec<_> = ten.iter().map(|message| message.0).collect();
        assert_eq!(numbers, ((n - 9).max(1)..=n).collect::<Vec<_>>());
        assert_eq!(ten.last(), Some(&(n, n - 1, n.to_string())));
    }
    let page = |query: &str| {
        let answer = request("GET", port, &format!("/messages{query}"), &[], "");
        let page = shown(&answer);
        page.iter().map(|message| message.0).collect::<Vec<_>>()
    };
    let range = |range: std::ops::RangeInclusive<i64>| range.collect::<Vec<_>>();
    assert_eq!(page(""), range(1..=25));
    assert_eq!(page("?limit=7"), range(19..=25));
    assert_eq!(page("?limit=7&before=19"), range(12..=18));
    assert_eq!(page("?limit=7&before=5"), range(1..=4));
    assert_eq!(page("?before=1"), [0; 0]);
    assert_eq!(page("?after=22&limit=2"), [23, 24]);
    assert_eq!(page("?after=25"), [0; 0]);
    let senders = request("GET", port, "/senders", &[], "");
    let expected = json!([{"sender": "анна", "count": 24}, {"sender": "b", "count": 1}]);
    assert_eq!((senders.status, senders.json()), (200, expected));
    assert_eq!(request("GET", port, "/healthz", &[], "").status, 200);
    let address = format!("127.0.0.1:{port}/healthz");
    let mut check = messenger(&["healthcheck", "--http", &address]);
    assert_eq!(check.wait_exit(SOON), 0, "{}", check.log());
    log.signal(Signal::TERM);
    assert_eq!(log.wait_exit(SOON), 0, "{}", log.log());
}

#[test]
fn answers_and_pages_on_sqlite() {
    answers(&Store::sqlite());
}

#[test]
fn answers_and_pages_on_postgres() {
    answers(&Store::postgres());
}

fn refusals(store: &Store) {
    let log = store.replica(&["--max-sender-bytes", "4"], &[]);
    let port = log.port();
    let text = "x".repeat(262_145);
    let long = json!({"sender": "a", "text": text}).to_string();
    for (body, named) in [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "an object"),
        (r#"{"text":"a"}"#, "\"sender\" is missing"),
        (r#"{"sender":"a"}"#, "\"text\" is missing"),
        (r#"{"sender":null,"text":"a"}"#, "\"sender\""),
        (r#"{"sender":"a","text":1}"#, "\"text\""),
        (r#"{"sender":"a","text":"","n":1}"#, "\"n\""),
        (r#"{"sender":"a","text":"\u0000"}"#, "text: the character"),
        (
            r#"{"sender":"aaaaa","text":""}"#,
            "sender: 5 bytes, the limit is 4",
        ),
        (&long, "text: 262145 bytes, the limit is 262144"),
    ] {
        let answer = post(port, "/", body);
        let error = &answer.json()["error"];
        let message = error["message"].as_str().unwrap_or_default();
        let code = error["code"].as_str();
        assert_eq!(
            (answer.status, code),
            (400, Some("INVALID_ARGUMENT")),
            "{body}"
        );
        assert!(message.contains(named), "{body}: {message}");
    }
    for (query, named) in [
        ("limit=0", "limit"),
        ("before=x", "before"),
        ("a=1", "\"a\""),
    ] {
        let answer = request("GET", port, &format!("/messages?{query}"), &[], "");
        let message = answer.json()["error"]["message"].to_string();
        assert!(
            answer.status == 400 && message.contains(named.trim_matches('"')),
            "{message}"
        );
    }
    assert_eq!(request("GET", port, "/nowhere", &[], "").status, 404);
    let wrong = request("DELETE", port, "/messages", &[], "");
    assert_eq!(
        (wrong.status, wrong.header("Allow")),
        (405, Some("GET, HEAD, POST"))
    );
    // Nothing of this has a number.
    assert_eq!(
        shown(&say(port, "a", &text[1..])),
        [(1, 1, text[1..].to_owned())]
    );
    // A page of long texts ends before 4 MiB.
    for _ in 0..20 {
        say(port, "a", &text[1..]);
    }
    let page = shown(&request("GET", port, "/messages?before=20", &[], ""));
    let numbers: Vec<_> = page.iter().map(|message| message.0).collect();
    assert_eq!(numbers, (5..=19).collect::<Vec<_>>());
}

#[test]
fn refusals_name_the_field_on_sqlite() {
    refusals(&Store::sqlite());
}

#[test]
fn refusals_name_the_field_on_postgres() {
    refusals(&Store::postgres());
}

/// Reads one answer of a kept-alive connection.
fn read(connection: &mut BufReader<TcpStream>) -> Value {
    let (mut line, mut length) = (String::new(), 0);
    connection.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line != "\r\n" {
        line.clear();
        connection.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn fifty_kept_alive_clients_in_a_burst_are_all_answered() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    let connect = |_| {
        let connection = TcpStream::connect(log.address()).unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        BufReader::new(connection)
    };
    let mut clients: Vec<_> = (0..50).map(connect).collect();
    let body = r#"{"sender":"a","text":"b"}"#;
    let post = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut own = Vec::new();
    for _ in 0..3 {
        for client in &mut clients {
            client.get_mut().write_all(post.as_bytes()).unwrap();
        }
        for client in &mut clients {
            let answer = read(client);
            own.push(
                answer.as_array().unwrap().last().unwrap()["number"]
                    .as_i64()
                    .unwrap(),
            );
        }
    }
    own.sort_unstable();
    assert_eq!(own, (1..=150).collect::<Vec<_>>());
}
