//! Who gets a connection to a server with TLS, and who does not.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslOptions, SslVersion};
use openssl::symm::Cipher;

use crate::support::SOON;
use crate::support::certificates::{Authority, Pair, path};
use crate::support::process::Process;
use crate::support::programs::{Program, Python, Server, messenger, messenger_with};
use crate::support::tls::{ca, flags, handshake};

const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

fn server(pair: &Pair, more: &[&str]) -> Program {
    Server::start(&[&flags(pair), more].concat())
}

/// Its exit code and all that it wrote.
fn over(mut process: Process) -> (i32, String) {
    let code = process.wait_exit(SOON);
    (code, process.lines(SOON).join("\n") + &process.log())
}

/// `messenger send` with these flags.
fn send(server: &str, flags: &[&str]) -> (i32, String) {
    let command = ["send", "--server", server, "anna", "Hello"];
    over(messenger(&[&command, flags].concat()))
}

#[test]
fn a_python_client_sends_and_reads_over_tls() {
    let authority = Authority::new("ours");
    let server = server(&authority.issue(&HOSTS), &[]);
    let (address, ca) = (server.address(), ca(&authority));
    let reader = Python::reader(&["read", &address, "--count", "1", "--ca", &ca]);
    server.wait_for_log(SOON, "stream opened");
    let (code, sent) = over(Python::reader(&[
        "send", &address, "--ca", &ca, "anna", "Hello",
    ]));
    assert_eq!(code, 0, "{sent}");
    reader.wait_for_line(SOON, r#""author": "anna", "text": "Hello""#);
    let (code, plain) = over(Python::reader(&["send", &address, "anna", "Hello"]));
    assert!(code == 1 && plain.contains("UNAVAILABLE"), "{plain}");
}

#[test]
fn only_who_trusts_the_authority_and_asks_for_the_right_name_is_connected() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = server(&ours.issue(&["chat.example"]), &[]);
    let address = server.address();
    let named = ["--tls-name", "chat.example"];
    let cases = [
        (ca(&ours), &named[..], 0, ""),
        (ca(&ours), &[], 1, "127.0.0.1 is not in peer certificate"),
        (ca(&other), &named, 1, "certificate verify failed"),
    ];
    for (ca, flags, expected, words) in cases {
        let (code, told) = send(&address, &[&["--tls-ca", &ca], flags].concat());
        assert_eq!(code, expected, "{flags:?}: {told}");
        assert!(told.contains(words), "{told}");
    }
    // The system's authorities do not know ours.
    let (code, told) = send(&address, &["--tls", "--tls-name", "chat.example"]);
    assert!(code == 1 && told.contains("verify failed"), "{told}");
    let (code, told) = send(&address, &[]);
    assert!(code == 1 && told.contains("Unavailable"), "{told}");
}

#[test]
fn mutual_tls_refuses_who_has_no_certificate_of_that_authority() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let client_ca = ca(&clients);
    let server = server(&ours.issue(&HOSTS), &["--tls-client-ca", &client_ca]);
    let (address, ca) = (server.address(), ca(&ours));
    let (known, foreign) = (clients.issue(&["anna"]), ours.issue(&["eve"]));
    for (pair, expected) in [(None, 1), (Some(&foreign), 1), (Some(&known), 0)] {
        let shown = pair.map_or(vec![], |pair| flags(pair).to_vec());
        let trusted = ["--tls-ca", &ca];
        let (code, told) = send(&address, &[&trusted, &shown[..]].concat());
        assert_eq!(code, expected, "ours with {pair:?}: {told}");
        let shown = pair.map_or(vec![], |pair| {
            let (certificate, key) = pair.paths();
            vec!["--cert", certificate, "--key", key]
        });
        let python = ["send", &address, "--ca", &ca, "anna", "Hello"];
        let (code, told) = over(Python::reader(&[&python, &shown[..]].concat()));
        assert_eq!(code, expected, "Python with {pair:?}: {told}");
    }
}

/// The port of a server that takes one connection, with TLS 1.1 too.
fn lenient(pair: &Pair) -> u16 {
    let mut builder = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    builder
        .set_certificate_chain_file(&pair.certificate)
        .unwrap();
    builder
        .set_private_key_file(&pair.key, SslFiletype::PEM)
        .unwrap();
    builder
        .set_min_proto_version(Some(SslVersion::TLS1_1))
        .unwrap();
    builder.clear_options(SslOptions::NO_TLSV1_1);
    builder.set_cipher_list("DEFAULT:@SECLEVEL=0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = builder.build();
    thread::spawn(move || acceptor.accept(listener.accept().unwrap().0).is_ok());
    port
}

#[test]
fn tls_older_than_1_2_is_refused() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&HOSTS);
    let old = handshake(lenient(&pair), &authority, SslVersion::TLS1_1);
    assert!(old.is_ok(), "this client speaks TLS 1.1: {old:?}");
    let server = server(&pair, &["--also-port", "0"]);
    for port in server.ports() {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let shown = handshake(*port, &authority, version);
            assert!(shown.is_ok(), "{version:?}: {shown:?}");
        }
        let refused = handshake(*port, &authority, SslVersion::TLS1_1);
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_flags() {
    let authority = Authority::new("ours");
    let (pair, other) = (authority.issue(&HOSTS), authority.issue(&HOSTS));
    let ((certificate, key), (_, other_key)) = (pair.paths(), other.paths());
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked.pem");
    let plain = openssl::pkey::PKey::private_key_from_pem(&std::fs::read(key).unwrap()).unwrap();
    let encrypted = plain.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret");
    std::fs::write(&locked, encrypted.unwrap()).unwrap();
    let large = folder.path().join("large.pem");
    std::fs::write(&large, vec![b' '; 1024 * 1024 + 1]).unwrap();
    let (locked, large) = (path(&locked), path(&large));
    let server = &["server", "--port", "0"][..];
    let client = &["send", "anna", "Hello"][..];
    let cases: [(&[&str], &[&str], &[&str]); 11] = [
        (
            server,
            &["--tls-cert", certificate],
            &["--tls-cert needs --tls-key"],
        ),
        (server, &["--tls-key", key], &["--tls-key needs --tls-cert"]),
        (
            server,
            &["--tls-client-ca", certificate],
            &["--tls-client-ca needs --tls-cert"],
        ),
        (
            server,
            &["--tls-cert", "no.pem", "--tls-key", key],
            &["--tls-cert no.pem", "No such file"],
        ),
        (
            server,
            &["--tls-cert", key, "--tls-key", key],
            &["--tls-cert", "no certificate"],
        ),
        (
            server,
            &["--tls-cert", large, "--tls-key", key],
            &["--tls-cert", "more than 1 MiB"],
        ),
        (
            server,
            &["--tls-cert", certificate, "--tls-key", certificate],
            &["--tls-key", "not a private key"],
        ),
        (
            server,
            &["--tls-cert", certificate, "--tls-key", locked],
            &["--tls-key", "encrypted"],
        ),
        (
            server,
            &["--tls-cert", certificate, "--tls-key", other_key],
            &[
                "--tls-key",
                other_key,
                "does not fit",
                "--tls-cert",
                certificate,
            ],
        ),
        (
            client,
            &["--tls-cert", certificate, "--tls-key", key],
            &["need --tls-ca", "--tls for"],
        ),
        (
            &["client"],
            &["--server-tls-ca", "no.pem"],
            &["--server-tls-ca no.pem", "No such file"],
        ),
    ];
    for (command, flags, words) in cases {
        let (code, told) = over(messenger(&[command, flags].concat()));
        assert_eq!(code, 1, "{flags:?}: {told}");
        let errors: Vec<_> = told
            .lines()
            .filter(|l| l.starts_with("messenger: "))
            .collect();
        assert_eq!(errors.len(), 1, "{told}");
        assert!(
            words.iter().all(|word| errors[0].contains(word)),
            "{words:?}: {told}"
        );
    }
}

#[test]
fn variables_that_are_empty_mean_plain_text() {
    let variables = ["", "_CA", "_CERT", "_KEY", "_NAME", "_CLIENT_CA"].map(|name| {
        let name = format!("MESSENGER_TLS{name}");
        (name, "")
    });
    let variables: Vec<_> = variables.iter().map(|(name, no)| (&**name, *no)).collect();
    let flags = ["server", "--host", "127.0.0.1", "--port", "0"];
    let server = Server::listening(messenger_with(&flags, &variables), 1);
    let address = server.address();
    let flags = ["send", "--server", &address, "anna", "Hello"];
    let (code, told) = over(messenger_with(&flags, &variables));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn a_health_check_in_the_servers_container_takes_the_servers_variables() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&["chat.example"]);
    let ((certificate, key), ca) = (pair.paths(), ca(&authority));
    let variables = [
        ("MESSENGER_TLS_CERT", certificate),
        ("MESSENGER_TLS_KEY", key),
        ("MESSENGER_TLS_CLIENT_CA", &ca),
        ("MESSENGER_TLS_CA", &ca),
        ("MESSENGER_TLS_NAME", "chat.example"),
    ];
    let flags = ["server", "--host", "127.0.0.1", "--port", "0"];
    let server = Server::listening(messenger_with(&flags, &variables), 1);
    let port = server.port().to_string();
    let (code, told) = over(messenger_with(
        &["healthcheck", "--port", &port],
        &variables,
    ));
    assert_eq!(code, 0, "{told}");
    let (code, told) = over(messenger_with(
        &["healthcheck", "--port", &port],
        &variables[..3],
    ));
    assert!(code == 1 && told.contains("need --tls-ca"), "{told}");
}

#[test]
fn who_does_not_begin_the_handshake_is_cut() {
    let authority = Authority::new("ours");
    let server = server(&authority.issue(&HOSTS), &[]);
    let mut silent = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    silent.set_read_timeout(Some(4 * SOON)).unwrap();
    let read = silent.read(&mut [0]);
    let closed = matches!(&read, Ok(0))
        || read
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    assert!(closed, "{read:?}");
}
