//! The access log: a line for each request and call, with an id that goes through.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use grpcio::{CallOption, MetadataBuilder};
use messenger::chat::wire;
use serde_json::Value;

use crate::support::http::{post, request};
use crate::support::process::Process;
use crate::support::programs::{Bridge, Console, Log, Server};
use crate::support::rpc::{Reader, client, raw, send};
use crate::support::{SOON, eventually};

const ON: [&str; 3] = ["--access-log", "--log-format", "json"];
const MESSAGE: &str = r#"{"author":"anna","text":"hush-text"}"#;

/// The lines of the access log with such a message and field, once there is one.
fn line(process: &Process, message: &str, field: (&str, &str)) -> Value {
    let found = || {
        let log = process.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut fields = lines.map(|mut line| line["fields"].take());
        fields.find(|it| it["message"] == message && it[field.0] == field.1)
    };
    eventually(SOON, &format!("a line {message} with {field:?}"), || {
        found().is_some()
    });
    found().unwrap()
}

#[test]
fn one_id_is_in_the_answer_and_in_the_lines_of_bridge_and_server() {
    let server = Server::start(&ON);
    let bridge = Bridge::start(&server.address(), &ON);
    let sound = "~".repeat(64);
    for id in ["a-1", &sound] {
        let headers = [("X-Request-Id", id), ("Authorization", "Bearer hush-token")];
        let path = "/sendMessage?token=hush-query";
        let answer = request("POST", bridge.port(), path, &headers, MESSAGE);
        assert_eq!(
            (answer.status, answer.header("X-Request-Id")),
            (200, Some(id))
        );
        let told = line(&bridge, "request", ("id", id));
        assert_eq!(
            (&told["service"], &told["method"]),
            (&"bridge".into(), &"POST".into())
        );
        assert_eq!(
            (&told["path"], &told["status"]),
            (&"/sendMessage".into(), &200.into())
        );
        assert!(told["took"].as_str().unwrap().ends_with('s'), "{told}");
        assert_eq!(told["peer"], "127.0.0.1");
        let call = line(&server, "call", ("id", id));
        assert_eq!(call["method"], "/mes_grpc.MessengerServer/SendMessage");
        assert_eq!(call["status"], "OK");
        assert!(
            call["peer"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{call}"
        );
    }
    // Each of these gets an id of its own, which goes through as well.
    let too_long = "a".repeat(65);
    for id in [
        None,
        Some(""),
        Some("a b"),
        Some(&*too_long),
        Some("\u{e4}"),
    ] {
        let header = id.map(|id| ("X-Request-Id", id));
        let headers: Vec<_> = header.into_iter().collect();
        let answer = request("POST", bridge.port(), "/sendMessage", &headers, MESSAGE);
        let made = answer.header("X-Request-Id").expect("an id").to_owned();
        assert!(
            made.len() == 32 && made.bytes().all(|it| it.is_ascii_hexdigit()),
            "{made}"
        );
        line(&bridge, "request", ("id", &made));
        line(&server, "call", ("id", &made));
    }
    for log in [bridge.log(), server.log()] {
        assert!(!log.contains("hush"), "{log}");
    }
}

#[test]
fn refusals_malformed_requests_and_streams_have_lines_too() {
    let server = Server::start(&ON);
    let bridge = Bridge::start(&server.address(), &ON);
    let missing = request("GET", bridge.port(), "/nothing", &[], "");
    let id = missing.header("X-Request-Id").expect("an id").to_owned();
    assert_eq!(line(&bridge, "request", ("id", &id))["status"], 404);
    let mut stranger = TcpStream::connect(("127.0.0.1", bridge.port())).unwrap();
    stranger
        .write_all(b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\r\nX-Request-Id: "), "{answer}");
    let refused = line(&bridge, "request", ("path", "-"));
    assert_eq!(
        (&refused["method"], &refused["status"]),
        (&"-".into(), &400.into())
    );

    let reader = Reader::start(&server.address());
    send(&client(&server.address()), "anna", "Hello");
    reader.next();
    drop(reader);
    let stream = line(&server, "call", ("status", "CANCELLED"));
    assert_eq!(stream["method"], "/messenger.v1.Chat/Subscribe");
    assert_eq!(stream["messages"], 1);
    let mut metadata = MetadataBuilder::new();
    metadata.add_str("x-request-id", "from-a-client").unwrap();
    let long = wire::SendMessageRequest {
        author: "a".repeat(300),
        ..Default::default()
    };
    let options = CallOption::default()
        .timeout(SOON)
        .headers(metadata.build());
    assert!(
        raw(&server.address())
            .unary_call(&wire::SEND_MESSAGE, &long, options)
            .is_err()
    );
    let call = line(&server, "call", ("id", "from-a-client"));
    assert_eq!(call["status"], "INVALID_ARGUMENT");
}

#[test]
fn the_console_passes_the_id_on_to_server_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let data = ["--data-dir", folder.path().to_str().unwrap()];
    let server = Server::start(&ON);
    let log = Log::listening(Log::spawn(&[&ON[..], &data].concat(), &[]));
    let history = ["--history", &log.address()];
    let console = Console::start(&server.address(), &[&ON[..], &history].concat());
    let json = ("Content-Type", "application/json");
    let send = |path, id, body| {
        let headers = [json, ("X-Request-Id", id)];
        let answer = request("POST", console.port(), path, &headers, body);
        assert_eq!(
            (answer.status, answer.header("X-Request-Id")),
            (200, Some(id))
        );
        assert_eq!(line(&console, "request", ("id", id))["path"], path);
    };
    send("/api/tasks", "task-1", r#"{"title":"a"}"#);
    assert_eq!(
        line(&server, "call", ("id", "task-1"))["method"],
        "/todo.TodoService/AddTask"
    );
    send(
        "/api/history",
        "log-1",
        r#"{"sender":"anna","text":"Hello"}"#,
    );
    assert_eq!(line(&log, "request", ("id", "log-1"))["service"], "history");
}

#[test]
fn without_the_flag_there_is_no_line_and_no_id() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let answer = post(bridge.port(), "/sendMessage", MESSAGE);
    assert_eq!((answer.status, answer.header("X-Request-Id")), (200, None));
    let lines = |log: String| {
        log.lines()
            .filter(|it| it.ends_with(" request") || it.contains(" id="))
            .count()
    };
    assert_eq!((lines(bridge.log()), lines(server.log())), (0, 0));
    assert_eq!(
        (
            bridge.threads_named("metrics"),
            server.threads_named("metrics")
        ),
        (0, 0)
    );
}
