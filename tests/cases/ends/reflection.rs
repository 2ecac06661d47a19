//! Reflection: grpcio's own client calls without a .proto, and each kind of request.

use grpcio::Method;
use messenger::error::{Code, Error};
use messenger::generated::reflection::server_reflection_request::Message_request as Asked;
use messenger::generated::reflection::server_reflection_response::Message_response as Answer;
use messenger::generated::reflection::{
    ExtensionRequest, ServerReflectionRequest as Request, ServerReflectionResponse as Response,
};
use messenger::grpc::client::{Requests, Stream};
use messenger::grpc::method;
use protobuf::Message as _;
use protobuf::descriptor::FileDescriptorProto;
use serde_json::{Value, json};

use crate::support::SOON;
use crate::support::feed::Feed;
use crate::support::process::Signal;
use crate::support::programs::{Python, Server};
use crate::support::rpc::connection;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// What every server has, whatever it hosts.
const OWN: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

fn sorted<'a>(names: &[&[&'a str]]) -> Vec<&'a str> {
    let mut names = names.concat();
    names.sort_unstable();
    names
}

/// One stream, with its requests.
fn open(server: &str, name: &'static str) -> (Requests<Request>, Feed<Response>) {
    let method: Method<Request, Response> = method::duplex(name);
    let connection = connection(server);
    let (requests, mut stream): (_, Stream<Response>) = connection.duplex(&method).unwrap();
    let feed = Feed::start(stream.abort_handle(), move || {
        let _connection = &connection;
        stream.recv()
    });
    (requests, feed)
}

fn request(asked: Asked) -> Request {
    Request {
        host: "somewhere".into(),
        message_request: Some(asked),
        ..Default::default()
    }
}

/// Asks, and checks what every answer repeats.
fn ask((requests, feed): &mut (Requests<Request>, Feed<Response>), asked: Asked) -> Answer {
    let request = request(asked);
    requests.send(request.clone(), SOON).unwrap();
    let response = feed.next();
    assert_eq!(response.valid_host, "somewhere");
    assert_eq!(*response.original_request, request);
    response.message_response.expect("an answer")
}

/// The names of the files.
fn files(answer: Answer) -> Vec<String> {
    let Answer::FileDescriptorResponse(files) = answer else {
        panic!("no files: {answer:?}");
    };
    let parse = |bytes: &Vec<u8>| FileDescriptorProto::parse_from_bytes(bytes).unwrap();
    let files = files.file_descriptor_proto.iter().map(parse);
    files.map(|file| file.name().to_owned()).collect()
}

fn not_found(answer: Answer) -> String {
    let Answer::ErrorResponse(error) = answer else {
        panic!("no error: {answer:?}");
    };
    assert_eq!(error.error_code, 5);
    error.error_message
}

fn listed(answer: Answer) -> Vec<String> {
    let Answer::ListServicesResponse(list) = answer else {
        panic!("no list: {answer:?}");
    };
    list.service.into_iter().map(|it| it.name).collect()
}

#[test]
fn a_python_client_lists_describes_and_calls_without_a_proto() {
    let server = Server::start(&[]);
    let arguments = ["todo.TodoService", "AddTask", r#"{"title": "хлеб"}"#];
    let address = server.address();
    let arguments = [&[&*address][..], &arguments].concat();
    let process = Python::spawn("reflection_client.py", &arguments, &[]);
    let line = || -> Value {
        let line = process
            .line(SOON)
            .unwrap_or_else(|| panic!("{}", process.log()));
        serde_json::from_str(&line).unwrap()
    };
    let services = [
        "StockTicker",
        "mes_grpc.MessengerServer",
        "message.MessageService",
        "messenger.v1.Chat",
        "todo.TodoService",
    ];
    assert_eq!(line(), json!(sorted(&[&services, &OWN])));
    let described = line();
    let methods = json!({
        "SendMessage": "mes_grpc.SendMessageRequest",
        "ReadMessages": "google.protobuf.Empty",
    });
    assert_eq!(described["mes_grpc.MessengerServer"], methods);
    assert_eq!(
        described["grpc.health.v1.Health"]["Watch"],
        "grpc.health.v1.HealthCheckRequest"
    );
    for (service, methods) in described.as_object().unwrap() {
        assert!(!methods.as_object().unwrap().is_empty(), "{service}");
    }
    assert_eq!(line(), json!({"task": {"id": 1, "title": "хлеб"}}));
}

#[test]
fn both_versions_list_what_is_hosted_and_nothing_else() {
    let server = Server::start(&["--services", "chat"]);
    for version in [V1, V1ALPHA] {
        let mut stream = open(&server.address(), version);
        let services = listed(ask(&mut stream, Asked::ListServices("*".into())));
        assert_eq!(
            services,
            sorted(&[&["mes_grpc.MessengerServer", "messenger.v1.Chat"], &OWN])
        );
        let other = ask(&mut stream, Asked::FileContainingSymbol("todo.Task".into()));
        assert_eq!(not_found(other), "there is no symbol todo.Task");
        stream.0.close(SOON).unwrap();
        assert_eq!(stream.1.rest(SOON).1, Ok(()), "a half-closed stream ends");
    }
}

#[test]
fn files_come_by_name_and_symbol_with_what_they_import() {
    let server = Server::start(&[]);
    let mut stream = open(&server.address(), V1);
    let mut ask = |asked| ask(&mut stream, asked);
    let chat = files(ask(Asked::FileByFilename("messenger.proto".into())));
    let times = [
        "google/protobuf/empty.proto",
        "google/protobuf/timestamp.proto",
    ];
    assert_eq!(chat, [times[0], times[1], "messenger.proto"]);
    for symbol in [
        "mes_grpc.MessengerServer",
        "mes_grpc.MessengerServer.SendMessage",
        "mes_grpc.ChatMessage",
        "mes_grpc.ChatMessage.author",
    ] {
        let again = files(ask(Asked::FileContainingSymbol(symbol.into())));
        assert_eq!(again, chat, "{symbol}");
    }
    for (symbol, file) in [
        (
            "grpc.health.v1.HealthCheckResponse.ServingStatus",
            "health.proto",
        ),
        ("grpc.health.v1.HealthCheckResponse.SERVING", "health.proto"),
        ("google.protobuf.Timestamp", times[1]),
        ("StockTicker", "fin.proto"),
        ("grpc.reflection.v1.ErrorResponse", "reflection.proto"),
        (
            "grpc.reflection.v1alpha.ServerReflectionRequest.message_request",
            "reflection_v1alpha.proto",
        ),
        ("messenger.v1.Chat.Subscribe", "subscribe.proto"),
    ] {
        let found = files(ask(Asked::FileContainingSymbol(symbol.into())));
        assert!(found.contains(&file.to_owned()), "{symbol}: {found:?}");
    }
    for unknown in ["", "mes_grpc", "MessengerServer", ".mes_grpc.ChatMessage"] {
        not_found(ask(Asked::FileContainingSymbol(unknown.into())));
        not_found(ask(Asked::FileByFilename(unknown.into())));
    }
}

#[test]
fn nothing_is_extended_and_only_known_types_have_no_extensions() {
    let server = Server::start(&[]);
    let mut stream = open(&server.address(), V1);
    let extension = ExtensionRequest {
        containing_type: "mes_grpc.ChatMessage".into(),
        extension_number: 7,
        ..Default::default()
    };
    let answer = ask(&mut stream, Asked::FileContainingExtension(extension));
    assert_eq!(
        not_found(answer),
        "there is no extension 7 of mes_grpc.ChatMessage"
    );
    let numbers = |name: &str| Asked::AllExtensionNumbersOfType(name.into());
    match ask(&mut stream, numbers("mes_grpc.ChatMessage")) {
        Answer::AllExtensionNumbersResponse(all) => {
            assert_eq!(all.base_type_name, "mes_grpc.ChatMessage");
            assert!(all.extension_number.is_empty());
        }
        other => panic!("{other:?}"),
    }
    let unknown = ask(&mut stream, numbers("mes_grpc.Nothing"));
    assert_eq!(not_found(unknown), "there is no type mes_grpc.Nothing");
}

/// The end of a stream after this request.
fn refused(server: &str, request: Request) -> Error {
    let (mut requests, feed) = open(server, V1);
    // The stream may be over before the client knows that it has sent this.
    let _ = requests.send(request, SOON);
    feed.rest(SOON).1.unwrap_err()
}

#[test]
fn bad_requests_and_too_many_of_them_end_their_stream_only() {
    let server = Server::start(&[]);
    let address = server.address();
    let mut beside = open(&address, V1);
    assert_eq!(
        refused(&address, Request::new()).code,
        Code::InvalidArgument
    );
    let long = request(Asked::FileByFilename("x".repeat(5000)));
    let error = refused(&address, long);
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("the limit of 4096"), "{error}");
    // Nobody reads their answers.
    let connection = connection(&address);
    let method: Method<Request, Response> = method::duplex(V1);
    let (mut requests, mut stream): (_, Stream<Response>) = connection.duplex(&method).unwrap();
    let many = request(Asked::FileByFilename("todo.proto".into()));
    while requests.send(many.clone(), SOON).is_ok() {}
    let end = std::iter::repeat_with(|| stream.recv()).find_map(Result::err);
    let error = end.expect("an end");
    assert_eq!(error.code, Code::ResourceExhausted, "{error}");
    let list = ask(&mut beside, Asked::ListServices(String::new()));
    assert_eq!(listed(list).len(), 8);
}

#[test]
fn open_streams_end_with_the_server_and_count_among_its_streams() {
    let mut server = Server::start(&["--max-streams", "1"]);
    let mut first = open(&server.address(), V1);
    ask(&mut first, Asked::ListServices(String::new()));
    let second = open(&server.address(), V1ALPHA);
    assert_eq!(
        second.1.rest(SOON).1.unwrap_err().code,
        Code::ResourceExhausted
    );
    server.signal(Signal::TERM);
    assert_eq!(
        first.1.rest(SOON),
        (vec![], Err(Error::unavailable("shutting down")))
    );
    assert_eq!(server.wait_exit(SOON), 0);
}
