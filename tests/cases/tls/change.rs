//! Certificates change while a server and its clients run.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use grpcio::{CallOption, Client};
use messenger::chat::wire::SEND_MESSAGE;
use messenger::generated::messenger::SendMessageRequest;
use openssl::ssl::SslVersion;

use crate::support::certificates::{Authority, Pair, replace};
use crate::support::http::{flush, post};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Program, Server, messenger};
use crate::support::rpc::Crowd;
use crate::support::tls::{ca, flags, handshake, raw};
use crate::support::{SOON, eventually};

const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
const AGAIN: &str = "the server's certificate was read again";
const KEPT: &str = "the server's certificate cannot be read again; the old one stays";

/// The number of the certificate that a new connection is shown.
fn shown(server: &Program, authority: &Authority) -> String {
    let shown = handshake(server.port(), authority, SslVersion::TLS1_3).expect("a connection");
    let number = shown.serial_number().to_bn().unwrap();
    number.to_hex_str().unwrap().to_string()
}

fn send(client: &Client) {
    let message = SendMessageRequest {
        author: "anna".into(),
        text: "Hello".into(),
        ..Default::default()
    };
    let options = CallOption::default().timeout(SOON);
    let sent = client.unary_call(&SEND_MESSAGE, &message, options);
    sent.expect("a time");
}

fn times(server: &Program, words: &str) -> usize {
    server.log().matches(words).count()
}

#[test]
fn a_new_certificate_is_shown_and_no_stream_is_dropped() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let server = Server::start(&flags(&pair));
    let clients = (0..6).map(|_| raw(&server.address(), &authority));
    let crowd = Crowd::over(clients.collect(), 50);
    let first = shown(&server, &authority);

    authority.renew(&pair, &HOSTS);
    let took = eventually(SOON, "another certificate", || {
        shown(&server, &authority) != first
    });
    // The promise is one second; the rest is a busy machine's share.
    assert!(took < Duration::from_secs(5), "{took:?}");

    send(&raw(&server.address(), &authority));
    crowd.each_receives(1);
}

#[test]
fn a_broken_file_leaves_the_old_certificate_and_the_log_says_so_once() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let server = Server::start(&flags(&pair));
    let first = shown(&server, &authority);

    replace(&pair.key, b"-----BEGIN PRIVATE KEY-----\n");
    server.wait_for_log(SOON, KEPT);
    assert_eq!(shown(&server, &authority), first);
    fs::remove_file(&pair.key).unwrap();
    eventually(SOON, "the missing file is told", || {
        times(&server, KEPT) == 2
    });
    assert_eq!(shown(&server, &authority), first);

    authority.renew(&pair, &HOSTS);
    eventually(SOON, "another certificate", || {
        shown(&server, &authority) != first
    });
    // The new key was there before its certificate, which may have been seen.
    let told = times(&server, KEPT);
    assert!((2..=3).contains(&told), "{}", server.log());
    assert!(
        server
            .log()
            .contains(&format!("--tls-key {}", pair.key.display()))
    );
}

#[test]
fn sighup_has_files_read_again_and_ends_nothing() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let mut server = Server::start(&flags(&pair));
    for round in 1..=3 {
        server.signal(Signal::HUP);
        eventually(SOON, "read again", || times(&server, AGAIN) == round);
    }
    shown(&server, &authority);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(SOON), 0);
}

#[test]
fn a_client_connects_again_with_the_new_authority() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = Server::start(&flags(&old.issue(&HOSTS)));
    let port = server.port();
    let trusted = ca(&old);
    let bridge = Bridge::start(&server.address(), &["--server-tls-ca", &trusted]);
    let send = || {
        post(
            bridge.port(),
            "/sendMessage",
            r#"{"author": "a", "text": "b"}"#,
        )
        .status
    };
    assert_eq!(send(), 200);
    drop(server);

    let _server = Server::start_on(port, &flags(&new.issue(&HOSTS)));
    assert_eq!(send(), 503, "the new server is not trusted yet");
    replace(&old.file(), &fs::read(new.file()).unwrap());
    eventually(SOON, "a message is accepted", || send() == 200);
    eventually(SOON, "messages come", || {
        assert_eq!(send(), 200);
        !flush(bridge.port()).is_empty()
    });
}

#[test]
fn a_stream_stays_when_its_client_has_other_files() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = Server::start(&flags(&old.issue(&HOSTS)));
    let (address, trusted) = (server.address(), ca(&old));
    let sender = raw(&address, &old);
    let mut tail = messenger(&["tail", "--server", &address, "--tls-ca", &trusted]);
    tail.wait_for_log(SOON, "subscribed to");
    replace(&old.file(), &fs::read(new.file()).unwrap());
    tail.wait_for_log(SOON, "was read again");
    send(&sender);
    tail.wait_for_line(SOON, "anna: Hello");
    // Only what runs for long reads files again on SIGHUP; a terminal that closes ends
    // this.
    tail.signal(Signal::HUP);
    assert_eq!(tail.wait_exit(SOON), 0);
}

#[test]
fn another_authority_of_clients_counts_for_those_who_come() {
    let (ours, old, new) = (
        Authority::new("ours"),
        Authority::new("old"),
        Authority::new("new"),
    );
    let (pair, trusted, clients) = (ours.issue(&HOSTS), ca(&ours), ca(&old));
    let mutual = [&flags(&pair)[..], &["--tls-client-ca", &clients]].concat();
    let server = Server::start(&mutual);
    let address = server.address();
    let (known, other) = (old.issue(&["anna"]), new.issue(&["bert"]));
    let connect = |command: &[&str], pair| {
        let flags = [
            &["--server", &address, "--tls-ca", &trusted],
            &flags(pair)[..],
        ];
        messenger(&[command, &flags.concat()].concat())
    };
    let send = |pair| connect(&["send", "anna", "Hello"], pair).wait_exit(SOON);
    assert_eq!((send(&known), send(&other)), (0, 1));
    let tail = connect(&["tail"], &known);
    tail.wait_for_log(SOON, "subscribed to");
    replace(&old.file(), &fs::read(new.file()).unwrap());
    server.wait_for_log(SOON, AGAIN);
    assert_eq!((send(&known), send(&other)), (1, 0));
    tail.wait_for_line(SOON, "anna: Hello");
}

#[test]
fn what_comes_from_a_pipe_is_read_once_and_holds_up_nothing() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("key");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let key = fs::read(&pair.key).unwrap();
    let writer = thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, key)
    });
    let piped = Pair {
        key: pipe,
        ..pair.clone()
    };
    let mut server = Server::start(&flags(&piped));
    writer.join().unwrap().unwrap();
    let first = shown(&server, &authority);
    authority.renew(&pair, &HOSTS);
    assert_eq!(shown(&server, &authority), first);
    // There is nothing to read again, so it ends.
    server.signal(Signal::HUP);
    assert_eq!(server.wait_exit(SOON), 0);
}
