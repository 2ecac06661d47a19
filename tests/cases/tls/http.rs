//! Bridge, console and log over TLS, before curl, Python and OpenSSL.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use openssl::ssl::SslVersion;

use crate::support::certificates::{Authority, Pair, path};
use crate::support::history::Store;
use crate::support::programs::{Bridge, Console, Program, Server, python};
use crate::support::tls::{ca, flags, handshake, session};
use crate::support::{SOON, eventually};

const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

/// What curl prints, or why it fails.
fn curl(arguments: &[&str]) -> Result<String, String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30"]);
    let output = curl.args(arguments).output().expect("curl");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

fn url(program: &Program, path: &str) -> String {
    format!("https://localhost:{}{path}", program.port())
}

fn log(authority: &Authority, more: &[&str]) -> (Store, Program, Pair) {
    let pair = authority.issue(&HOSTS);
    let store = Store::sqlite();
    let log = store.replica(&[&flags(&pair), more].concat(), &[]);
    (store, log, pair)
}

#[test]
fn curl_speaks_to_bridge_console_and_log() {
    let authority = Authority::new("ours");
    let (pair, ca) = (authority.issue(&HOSTS), ca(&authority));
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &flags(&pair));
    let console = Console::start(&server.address(), &flags(&pair));
    let (_store, log, _) = log(&authority, &[]);
    let ask = |program: &Program, path: &str, more: &[&str]| {
        curl(&[&["--cacert", &*ca, &*url(program, path)], more].concat()).unwrap()
    };
    let hello = r#"{"author":"anna","text":"Hello"}"#;
    let sent = ask(&bridge, "/sendMessage", &["--data", hello]);
    assert!(sent.contains("sendTime"), "{sent}");
    let flushed = ask(&bridge, "/getAndFlushMessages", &["--request", "POST"]);
    assert!(flushed.contains("Hello"), "{flushed}");
    // One connection after the other, and two requests on one.
    let page = ask(&console, "/", &[&*url(&console, "/")]);
    assert_eq!(page.matches("<title>").count(), 2, "{page}");
    // Several records, in both directions.
    let long = format!(r#"{{"sender":"anna","text":"{}"}}"#, "x".repeat(60_000));
    for _ in 0..5 {
        ask(&log, "/", &["--data", &long]);
    }
    let all = ask(&log, "/messages", &[]);
    assert_eq!(all.matches(&*"x".repeat(60_000)).count(), 5);
    // Nobody who does not trust the authority talks to it.
    let refused = curl(&[&url(&log, "/messages")]).unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let plain = curl(&[&url(&log, "/messages").replace("https", "http")]).unwrap();
    assert!(plain.contains("this port speaks TLS"), "{plain}");
}

#[test]
fn python_speaks_to_the_log() {
    const PROGRAM: &str = "
import http.client, json, ssl, sys, urllib.request
url, ca, port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
body = json.dumps({'sender': 'anna', 'text': 'Hello'}).encode()
with urllib.request.urlopen(url + '/', body, context=context) as answer:
    assert answer.status == 200
# Keeps its connection.
connection = http.client.HTTPSConnection('localhost', int(port), context=context)
for _ in range(3):
    connection.request('GET', '/messages')
    print(json.load(connection.getresponse())[0]['text'])
";
    let authority = Authority::new("ours");
    let (_store, log, _) = log(&authority, &[]);
    let mut program = Command::new(python());
    let port = log.port().to_string();
    program.args(["-c", PROGRAM, &url(&log, ""), &ca(&authority), &port]);
    let output = program.output().expect("Python");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Hello\n".repeat(3),
        "{error}"
    );
}

#[test]
fn versions_before_1_2_are_refused() {
    let authority = Authority::new("ours");
    let (_store, log, _) = log(&authority, &[]);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        handshake(log.port(), &authority, version).expect("a session");
    }
    for version in [SslVersion::TLS1, SslVersion::TLS1_1] {
        handshake(log.port(), &authority, version).unwrap_err();
    }
}

#[test]
fn with_a_client_ca_only_those_with_its_certificate_get_in() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let (_store, log, _) = log(&authority, &["--tls-client-ca", &ca(&authority)]);
    let ask = |shown: Option<&Pair>| {
        let (ca, url) = (ca(&authority), url(&log, "/messages"));
        let shown = shown.map_or(Vec::new(), |pair| {
            let (certificate, key) = pair.paths();
            vec!["--cert", certificate, "--key", key]
        });
        curl(&[&["--cacert", &*ca, &*url], &*shown].concat())
    };
    assert_eq!(ask(Some(&authority.issue(&["anna"]))).as_deref(), Ok("[]"));
    for stranger in [None, Some(&other.issue(&["anna"]))] {
        let refused = ask(stranger).unwrap_err();
        assert!(refused.contains("alert"), "told why: {refused}");
    }
}

#[test]
fn a_new_certificate_is_shown_while_a_stream_goes_on() {
    let authority = Authority::new("ours");
    let (_store, log, pair) = log(&authority, &[]);
    let shown = || {
        let shown = handshake(log.port(), &authority, SslVersion::TLS1_3).expect("a session");
        shown.serial_number().to_bn().unwrap()
    };
    let say = |text: &str| {
        let body = format!(r#"{{"sender":"anna","text":"{text}"}}"#);
        curl(&[
            "--cacert",
            &ca(&authority),
            "--data",
            &body,
            &url(&log, "/"),
        ])
        .unwrap();
    };
    let mut stream = session(log.port(), &authority, None).unwrap();
    let events = b"GET /events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(events).unwrap();
    let mut lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"));
    let mut hear = |text: &str| lines.any(|line| line.starts_with("data: ") && line.contains(text));
    say("before");
    assert!(hear("before"));

    let first = shown();
    authority.renew(&pair, &HOSTS);
    let took = eventually(SOON, "another certificate", || shown() != first);
    // The promise is one second; the rest is a busy machine's share.
    assert!(took < Duration::from_secs(5), "{took:?}");
    say("after");
    assert!(hear("after"));
}

#[test]
fn who_stalls_in_the_handshake_holds_up_nobody_and_is_closed() {
    let authority = Authority::new("ours");
    let limits = ["--http-request-time", "1s", "--http-connections", "40"];
    let (_store, log, _) = log(&authority, &limits);
    let stalled = |bytes: &[u8]| {
        let mut peer = TcpStream::connect(("127.0.0.1", log.port())).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        peer.write_all(bytes).unwrap();
        peer
    };
    // The head of a record for 512 bytes, and some of them.
    let started = [0x16, 3, 1, 2, 0, 1, 0, 1];
    let peers: Vec<_> = (0..30)
        .map(|n| stalled(if n % 2 == 0 { &[] } else { &started }))
        .collect();
    let answer = curl(&["--cacert", &ca(&authority), &url(&log, "/messages")]);
    assert_eq!(answer.as_deref(), Ok("[]"));
    for mut peer in peers {
        // Closed without a word, or reset.
        let said = peer.read(&mut [0; 100]);
        assert!(matches!(said, Ok(0)) || said.is_err_and(|e| e.raw_os_error() == Some(104)));
    }
    // At the limit, those who stall make room.
    let crowd: Vec<_> = (0..60).map(|_| stalled(&started)).collect();
    let answer = curl(&["--cacert", &ca(&authority), &url(&log, "/messages")]);
    assert_eq!(answer.as_deref(), Ok("[]"));
    drop(crowd);
}

#[test]
fn a_bad_certificate_is_refused_at_the_start() {
    let authority = Authority::new("ours");
    let (pair, other) = (authority.issue(&HOSTS), authority.issue(&HOSTS));
    let mixed = [
        "--tls-cert",
        path(&pair.certificate),
        "--tls-key",
        path(&other.key),
    ];
    let mut process = Store::sqlite().spawn(&mixed, &[]);
    assert_ne!(process.wait_exit(SOON), 0);
    assert!(process.log().contains("--tls-key"), "{}", process.log());
}
