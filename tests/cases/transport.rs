//! Calls that no client of ours makes, and the ports that a server listens on.

use std::net::TcpListener;

use grpcio::{CallOption, Client, MetadataBuilder, MethodType, RpcStatusCode};
use messenger::chat::wire;
use messenger::generated::messenger::ChatMessage;

use crate::support::SOON;
use crate::support::http::seen;
use crate::support::process::Signal;
use crate::support::programs::{Program, Server, messenger, messenger_with};
use crate::support::rpc::{Reader, Stream, bytes, client, open, raw, send};

const SEND: &str = "/mes_grpc.MessengerServer/SendMessage";

/// Makes the call, which has to fail, and returns with which status.
fn failure(
    client: &Client,
    name: &'static str,
    request: &[u8],
    headers: &[(&str, &str)],
) -> RpcStatusCode {
    let mut metadata = MetadataBuilder::new();
    for (name, value) in headers {
        metadata.add_str(name, value).unwrap();
    }
    let options = CallOption::default()
        .timeout(SOON)
        .headers(metadata.build());
    let method = bytes(MethodType::Unary, name);
    match client.unary_call(&method, &request.to_vec(), options) {
        Err(grpcio::Error::RpcFailure(status)) => status.code(),
        other => panic!("{other:?}"),
    }
}

/// A stream on the same connection: it lives as long as the connection does.
struct Witness(Stream<ChatMessage>);

impl Witness {
    fn start(server: &Program, client: &Client) -> Self {
        Self(open(server, client))
    }

    fn next(&mut self) -> ChatMessage {
        self.0.wait().expect("a message, not the end")
    }

    /// Sends on the same connection, and sees that alone.
    fn sees_the_next_message(&mut self, client: &Client) {
        let request = wire::SendMessageRequest {
            text: "next".into(),
            ..Default::default()
        };
        let options = CallOption::default().timeout(SOON);
        let answer = client
            .unary_call(&wire::SEND_MESSAGE, &request, options)
            .unwrap();
        let message = self.next();
        assert_eq!(message.text, "next");
        assert_eq!(message.send_time, answer.send_time);
    }
}

#[test]
fn invalid_protobuf_fails_that_call_alone() {
    let server = Server::start(&[]);
    let connection = raw(&server.address());
    let mut witness = Witness::start(&server, &connection);
    let invalid_utf8 = b"\x0a\x02\xff\xfe";
    for request in [
        b"\xff\xff\xff\xff\xff".as_slice(),
        b"\x0a\x7fshort",
        invalid_utf8,
        b"\x07",
    ] {
        let code = failure(&connection, SEND, request, &[]);
        assert!(
            matches!(
                code,
                RpcStatusCode::INTERNAL | RpcStatusCode::INVALID_ARGUMENT
            ),
            "{request:?}: {code:?}"
        );
        witness.sees_the_next_message(&connection);
    }
}

#[test]
fn absent_and_unknown_fields_are_fine() {
    let server = Server::start(&[]);
    let connection = raw(&server.address());
    let mut witness = Witness::start(&server, &connection);
    let method = bytes(MethodType::Unary, SEND);
    // Nothing at all; then field 15, a varint, which we do not know.
    for request in [b"".as_slice(), b"\x78\x01"] {
        let answer = connection.unary_call(&method, &request.to_vec(), CallOption::default());
        assert!(!answer.unwrap().is_empty(), "there is a time in the answer");
        let message = witness.next();
        assert_eq!((&*message.author, &*message.text), ("", ""));
        assert!(message.send_time.is_some());
    }
}

#[test]
fn unknown_methods_are_unimplemented() {
    let server = Server::start(&[]);
    let connection = raw(&server.address());
    let mut witness = Witness::start(&server, &connection);
    for name in [
        "/mes_grpc.MessengerServer/Nothing",
        "/nothing.Nothing/SendMessage",
        "/",
    ] {
        let code = failure(&connection, name, b"", &[]);
        assert_eq!(code, RpcStatusCode::UNIMPLEMENTED, "{name}");
        witness.sees_the_next_message(&connection);
    }
}

#[test]
fn oversized_metadata_fails_that_call_alone() {
    let server = Server::start(&[]);
    let connection = raw(&server.address());
    let mut witness = Witness::start(&server, &connection);
    let fits = "x".repeat(8 * 1024);
    let options = || {
        let mut metadata = MetadataBuilder::new();
        metadata.add_str("x-fits", &fits).unwrap();
        CallOption::default()
            .timeout(SOON)
            .headers(metadata.build())
    };
    let request = wire::SendMessageRequest::default();
    connection
        .unary_call(&wire::SEND_MESSAGE, &request, options())
        .unwrap();
    witness.next();
    let code = failure(&connection, SEND, b"", &[("x-big", &"x".repeat(20 * 1024))]);
    assert_eq!(code, RpcStatusCode::RESOURCE_EXHAUSTED);
    witness.sees_the_next_message(&connection);
    let small = "x".repeat(1000);
    let names: Vec<_> = (0..40).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, &*small)).collect();
    let code = failure(&connection, SEND, b"", &many);
    assert_eq!(code, RpcStatusCode::RESOURCE_EXHAUSTED, "many small fields");
    witness.sees_the_next_message(&connection);
}

#[test]
fn a_port_of_another_server_is_refused_with_one_line() {
    let first = Server::start(&[]);
    let port = first.port().to_string();
    let mut second = messenger(&["server", "--host", "127.0.0.1", "--port", &port]);
    assert!(second.wait_exit(SOON) > 0);
    assert_one_line_names(&second.log(), &first.address());
    assert_eq!(second.line(SOON), None, "nothing on standard output");
    // The first one has lost nothing by it.
    let reader = Reader::start(&first.address());
    let time = send(&client(&first.address()), "a", "b");
    assert_eq!(reader.seen(), seen("a", "b", time));
}

#[test]
fn a_port_of_another_program_is_refused_also_as_a_second_one() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let arguments = [
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--also-port",
        &port,
    ];
    let mut server = messenger(&arguments);
    assert!(server.wait_exit(SOON) > 0);
    assert_one_line_names(&server.log(), &address.to_string());
}

fn assert_one_line_names(log: &str, address: &str) {
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(address), "{log}");
    assert!(log.to_lowercase().contains("in use"), "{log}");
}

#[test]
fn all_ports_serve_the_same_chat() {
    let server = Server::start(&["--also-port", "0", "--also-port", "0"]);
    let [first, second, third] = server.ports() else {
        panic!("three ports");
    };
    assert!(first != second && second != third && first != third);
    let readers = server
        .ports()
        .iter()
        .map(|port| Reader::start(&format!("127.0.0.1:{port}")));
    let readers: Vec<_> = readers.collect();
    for port in server.ports() {
        let time = send(&client(&format!("127.0.0.1:{port}")), "a", "b");
        for reader in &readers {
            assert_eq!(reader.seen(), seen("a", "b", time));
        }
    }
}

#[test]
fn flags_win_over_variables_and_variables_over_defaults() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let variables = [
        ("MESSENGER_SERVER_PORT", port.as_str()),
        ("MESSENGER_SERVER_HOST", "127.0.0.1"),
        ("MESSENGER_MAX_AUTHOR_BYTES", "3"),
        ("MESSENGER_MAX_TEXT_BYTES", "3"),
        ("MESSENGER_ALSO_PORT", "0,0"),
    ];
    // By the variable alone, the port is the taken one.
    let mut server = messenger_with(&["server"], &variables);
    assert!(server.wait_exit(SOON) > 0);
    assert_one_line_names(&server.log(), &format!("127.0.0.1:{port}"));
    let flags = ["server", "--port", "0", "--max-text-bytes", "5"];
    let mut server = Server::listening(messenger_with(&flags, &variables), 3);
    let sender = client(&format!("127.0.0.1:{}", server.ports()[2]));
    send(&sender, "abc", "12345");
    let author = sender.send("abcd", "", SOON).unwrap_err();
    assert_eq!(author.message, "author: 4 bytes, the limit is 3");
    let text = sender.send("", "123456", SOON).unwrap_err();
    assert_eq!(text.message, "text: 6 bytes, the limit is 5");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(SOON), 0);
}
