//! `messenger shadow` as a program: what goes through it is unchanged, and what its second
//! side does is told and harms nobody.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use grpcio::{CallOption, MetadataBuilder, MethodType, RpcStatusCode};
use messenger::chat::message::Message;
use messenger::grpc::blocking;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::Process;
use crate::support::programs::{Bridge, Program, Python, Server, free_port, messenger, python};
use crate::support::rpc::{Reader, bytes, client, raw, send};
use crate::support::{SOON, eventually};

const SEND: &str = "/mes_grpc.MessengerServer/SendMessage";

/// A shadow with these flags, and where it listens.
fn shadow(flags: &[&str], places: usize) -> (Process, Vec<String>) {
    let command = ["shadow", "--port", "0", "--http-port", "0", "--all"];
    let shadow = messenger(&[&command, flags].concat());
    let places = (0..places).map(|_| {
        let line = shadow.line(Duration::from_secs(90)).unwrap_or_default();
        let place = line.strip_prefix("messenger shadow listening on ");
        let place = place.unwrap_or_else(|| panic!("{line:?}; {}", shadow.log()));
        place.trim_start_matches("http://").to_owned()
    });
    let places = places.collect();
    (shadow, places)
}

/// Ends it; what else it has written.
fn end(mut shadow: Process) -> Vec<String> {
    shadow.signal(Signal::TERM);
    let lines = shadow.lines(SOON);
    assert_eq!(shadow.wait_exit(SOON), 0, "{}", shadow.log());
    lines
}

/// Ends one of `--json`: its differences, and its summary.
fn judged(shadow: Process) -> (Vec<Value>, Value) {
    let lines = end(shadow);
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let (mut differences, mut summary) = (Vec::new(), Value::Null);
    for line in lines {
        let line: Value = line;
        match line["difference"].is_string() {
            true => differences.push(line),
            false if line["summary"].is_object() => summary = line["summary"].clone(),
            false => {}
        }
    }
    (differences, summary)
}

fn pair() -> [Program; 2] {
    [Server::start(&[]), Server::start(&[])]
}

#[test]
fn a_python_suite_before_python_and_ours_shows_known_differences_alone() {
    let python = python();
    let work = tempfile::tempdir().unwrap();
    let flags = [
        "--json",
        "--python",
        python.to_str().unwrap(),
        "--work",
        work.path().to_str().unwrap(),
    ];
    let (shadow, places) = shadow(&flags, 2);
    let variables = [
        ("MESSENGER_TEST_SERVER_ADDR", &*places[0]),
        ("MESSENGER_TEST_CLIENT1_ADDR", &*places[1]),
    ];
    let mut suite = Python::spawn("chat_suite.py", &[], &variables);
    assert_eq!(
        suite.wait_exit(Duration::from_secs(90)),
        0,
        "{}",
        suite.log()
    );
    let (differences, summary) = judged(shadow);
    let (known, new): (Vec<_>, Vec<_>) = differences.iter().partition(|it| it["known"].is_string());
    assert!(new.is_empty(), "{new:#?}");
    assert_eq!(summary["not_compared"], 0, "{summary}");
    assert!(summary["compared"].as_u64() > Some(100), "{summary}");
    for row in [
        "author, text",
        "unknown path",
        "wrong method",
        "kept-alive connections",
        "Content-Type of answers",
        "raw UTF-8 in a request, bad JSON, unknown field",
    ] {
        assert!(
            known.iter().any(|it| it["known"] == row),
            "{row}: {known:#?}"
        );
    }
}

#[test]
fn ten_thousand_requests_pass_unchanged() {
    const SENDERS: usize = 8;
    let [left, right] = pair();
    let flags = [
        "--left",
        &left.address(),
        "--right",
        &right.address(),
        "--json",
    ];
    let (shadow, places) = shadow(&flags, 1);
    let sender = client(&places[0]);
    let reader = Reader::start(&left.address());
    let work = |nth: usize| {
        let sender = sender.clone();
        move || {
            let one = |number| {
                let (author, text) = (nth.to_string(), format!("text {number}"));
                let send_time = sender.send(&author, &text, SOON).unwrap();
                Message {
                    author,
                    text,
                    send_time,
                }
            };
            (0..10_000 / SENDERS).map(one).collect::<Vec<_>>()
        }
    };
    let threads: Vec<_> = (0..SENDERS).map(|nth| thread::spawn(work(nth))).collect();
    let sent = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap());
    let mut sent: Vec<_> = sent.collect();
    sent.sort_by_key(|message| message.send_time);
    let got: Vec<_> = sent.iter().map(|_| reader.next()).collect();
    assert_eq!(got, sent);
    let (differences, _) = judged(shadow);
    assert!(differences.is_empty(), "{:#?}", &differences[..1]);
}

/// What comes back for a request, without its Date.
fn answer(address: &str, request: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(SOON)).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let is_date = |line: &&str| line.starts_with("Date: ");
    let lines = answer.split_inclusive("\r\n");
    lines.filter(|line| !is_date(line)).collect()
}

#[test]
fn http_passes_byte_for_byte() {
    let servers = pair();
    let bridges = servers
        .each_ref()
        .map(|it| Bridge::start(&it.address(), &[]));
    let [left, right] = bridges.each_ref().map(|it| it.address());
    let flags = ["--left-http", &left, "--right-http", &right, "--json"];
    let (shadow, places) = shadow(&flags, 1);
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "POST /nothing HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
        "POST /sendMessage HTTP/1.0\r\nContent-Length: 3\r\n\r\n{x}",
        "POST /getAndFlushMessages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "POST /sendMessage HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n\r\n",
        "POST /sendMessage HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        "no request at all\r\n\r\n",
    ] {
        let expected = answer(&left, request);
        assert!(expected.starts_with("HTTP/1.1 "), "{expected}");
        assert_eq!(answer(&places[0], request), expected, "{request}");
    }
    let (differences, summary) = judged(shadow);
    assert!(differences.is_empty(), "{differences:#?}");
    // Those whose end cannot be told are forwarded alone.
    assert_eq!(
        (&summary["compared"], &summary["not_compared"]),
        (&5.into(), &3.into())
    );
}

#[test]
fn status_details_and_metadata_pass_unchanged_and_other_methods_do_not() {
    let servers = [0, 1].map(|_| Python::metadata_server());
    let [left, right] = servers.each_ref().map(|it| it.address());
    let (shadow, places) = shadow(&["--left", &left, "--right", &right, "--json"], 1);
    let call = |address: &str, method: &'static str, request: &[u8]| {
        let mut metadata = MetadataBuilder::new();
        metadata.add_str("x-asked", "a word").unwrap();
        let options = CallOption::default()
            .headers(metadata.build())
            .timeout(SOON);
        let method = bytes(MethodType::Unary, method);
        let client = raw(address);
        let mut call = client
            .unary_call_async(&method, &request.to_vec(), options)
            .unwrap();
        let metadata = blocking::wait(call.headers(), None).unwrap().map(|all| {
            let own = all.iter().filter(|(key, _)| key.starts_with("x-"));
            own.map(|(key, value)| (key.to_owned(), value.to_vec()))
                .collect::<Vec<_>>()
        });
        match metadata {
            Ok(metadata) => Ok((
                metadata,
                blocking::wait(call.message(), None).unwrap().unwrap(),
            )),
            Err(grpcio::Error::RpcFailure(it)) => {
                Err((it.code(), it.message().to_owned(), it.details().to_owned()))
            }
            Err(error) => panic!("{error}"),
        }
    };
    // Field 2, the text, and field 15, which nobody knows.
    for request in [
        &b"\x12\x02ok"[..],
        b"\x12\x02ok\x78\x01",
        b"\x12\x04fail",
        b"\xff",
    ] {
        let direct = call(&left, SEND, request);
        assert_eq!(call(&places[0], SEND, request), direct);
        match (request, direct) {
            (b"\x12\x04fail", Err((.., details))) => assert!(!details.is_empty()),
            (b"\xff", Err(_)) => {}
            (_, Ok((metadata, _))) => assert_eq!(metadata.len(), 2, "{metadata:?}"),
            (request, other) => panic!("{request:?}: {other:?}"),
        }
    }
    let other = call(&places[0], "/nobody.Knows/This", b"").unwrap_err();
    assert_eq!(other.0, RpcStatusCode::UNIMPLEMENTED);
    let (differences, summary) = judged(shadow);
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(summary["compared"], 4, "{summary}");
}

#[test]
fn a_dead_second_side_is_told_and_forwarded_past_until_it_is_back() {
    let left = Server::start(&[]);
    let port = free_port();
    let right = format!("127.0.0.1:{port}");
    let (shadow, places) = shadow(&["--left", &left.address(), "--right", &right], 1);
    let sender = client(&places[0]);
    let reader = Reader::start(&left.address());
    for number in 0..20 {
        send(&sender, "anna", &number.to_string());
        assert_eq!(reader.next().text, number.to_string());
    }
    shadow.wait_for_line(SOON, "one side is gone  [NEW]");
    let _right = Server::start_on(port, &[]);
    eventually(SOON, "it is back", || {
        send(&sender, "anna", "hello?");
        shadow.has_line("the side that was gone is back")
    });
    let summary = end(shadow).join("\n");
    assert!(summary.contains("1 x NEW    "), "told once: {summary}");
}

#[test]
fn the_answers_of_the_right_side_if_asked_for() {
    let [left, right] = pair();
    let reader = Reader::start(&right.address());
    let flags = ["--left", &left.address(), "--right", &right.address()];
    let (shadow, places) = shadow(&[&flags[..], &["--answer", "right"]].concat(), 1);
    let answered = send(&client(&places[0]), "anna", "hello");
    assert_eq!(reader.next().send_time.nanos(), answered);
    assert!(end(shadow).concat().contains("compared     1"));
}

/// A side that takes connections, and nothing else.
fn stalled() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

#[test]
fn a_second_side_that_stalls_costs_clients_nothing_and_memory_is_bounded() {
    let [left, right] = pair();
    let bridge = Bridge::start(&left.address(), &[]);
    let (right_http, _listener) = stalled();
    let flags = [
        ["--left", &left.address(), "--right", &right.address()],
        [
            "--left-http",
            &bridge.address(),
            "--right-http",
            &right_http,
        ],
    ];
    let (shadow, places) = shadow(&[&flags.concat()[..], &["--json"]].concat(), 2);
    let (sender, reader) = (client(&places[0]), Reader::start(&places[0]));
    send(&sender, "anna", "hello");
    assert_eq!(reader.next().text, "hello");
    right.stop();
    let (text, begun) = ("x".repeat(200_000), Instant::now());
    for _ in 0..1000 {
        send(&sender, "anna", &text);
        assert_eq!(reader.next().text.len(), text.len());
    }
    let port = places[1].rsplit_once(':').unwrap().1.parse().unwrap();
    crate::support::http::send(port, "boris", "over HTTP");
    // One call that waited for it would take as long as all of this.
    println!("{:?}, {} bytes", begun.elapsed(), shadow.peak_bytes());
    // 200 MB went to the reader, and as many were to be compared.
    assert!(
        shadow.peak_bytes() < 160 << 20,
        "{} bytes",
        shadow.peak_bytes()
    );
    right.signal(Signal::CONT);
    let (_, summary) = judged(shadow);
    assert!(summary["not_compared"].as_u64() > Some(500), "{summary}");
}
