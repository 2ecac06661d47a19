//! The requests of all methods, called on a server of this process with all services: the
//! C core, the handlers and the services as they are.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use grpcio::{
    CallOption, Client, GrpcSlice, MessageReader, Method, MethodType, RpcStatus, RpcStatusCode,
    WriteFlags, pb_de,
};
use messenger::chat::{self, server::Chat};
use messenger::generated::reflection::{ServerReflectionRequest, ServerReflectionResponse};
use messenger::grpc::health::wire::{self as health, HealthCheckRequest, HealthCheckResponse};
use messenger::grpc::{blocking, host, method, server};
use messenger::jobs::{server::Messages, wire as jobs};
use messenger::ticker::{self, server::Ticker};
use messenger::todo::{self, list::Limits, server::Todo};
use protobuf::Message;

use super::driver::{self, Target, plain};
use super::messages::WORDS;
use crate::support::SOON;
use crate::support::rpc::{Stream, bytes, raw};

/// The first byte says which method.
pub const TARGET: Target = Target {
    name: "grpc-calls",
    start: || {
        let server = Server::start();
        Box::new(move |inputs| {
            let calls = inputs
                .iter()
                .map(|it| AssertUnwindSafe(server.call(it)).catch_unwind());
            let calls = driver::quietly(|| blocking::wait(join_all(calls), Some(4 * SOON)));
            let ends = calls.expect("all calls end in time").into_iter();
            ends.map(|end| end.map_err(driver::why)).collect()
        })
    },
    words: WORDS,
    longest: 3000,
    together: 64,
};

struct Called {
    kind: MethodType,
    name: &'static str,
    /// Whether bytes are such a request, as a whole and byte by byte, or such an answer.
    whole: fn(&[u8]) -> bool,
    pieces: fn(&[u8]) -> bool,
    answer: fn(&[u8]) -> bool,
}

/// By what a client knows of the method.
fn called<Q: Message, A: Message>(method: &Method<Q, A>) -> Called {
    Called {
        kind: method.ty,
        name: method.name,
        // rust-protobuf takes more from pieces than as a whole: see `messages`.
        whole: |bytes| Q::parse_from_bytes(bytes).is_ok(),
        pieces: |bytes| {
            let bytes: Vec<_> = bytes.chunks(1).map(GrpcSlice::from).collect();
            pb_de::<Q>(MessageReader::new((&*bytes).into())).is_ok()
        },
        answer: |bytes| A::parse_from_bytes(bytes).is_ok(),
    }
}

fn methods() -> [Called; 16] {
    type Reflect = Method<ServerReflectionRequest, ServerReflectionResponse>;
    let reflect: [Reflect; 2] = [
        method::duplex("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
        method::duplex("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    ];
    let watch = health::WATCH_ENCODED.name;
    let watch = method::server_stream::<HealthCheckRequest, HealthCheckResponse>(watch);
    [
        called(&chat::wire::SEND_MESSAGE),
        called(&chat::wire::READ_MESSAGES),
        called(&todo::wire::ADD_TASK),
        called(&todo::wire::GET_TASKS),
        called(&todo::wire::COMPLETE_TASK),
        called(&todo::wire::WATCH_TASKS),
        called(&jobs::PROCESS_MESSAGE),
        called(&jobs::ASSIGN_AB),
        called(&jobs::FACTORIAL),
        called(&jobs::MOST_FREQUENT_LETTER),
        called(&ticker::wire::SUBSCRIBE_TO_STOCK_UPDATES),
        called(&health::CHECK),
        called(&watch),
        called(&chat::wire::SUBSCRIBE),
        called(&reflect[0]),
        called(&reflect[1]),
    ]
}

struct Server {
    methods: [Called; 16],
    client: Client,
    _handle: host::Handle,
}

impl Server {
    fn start() -> Self {
        let config = server::Config {
            host: "127.0.0.1".into(),
            ports: vec![0],
            ..Default::default()
        };
        let todo = todo::server::Config {
            limits: Limits {
                tasks: 100,
                ..Limits::default()
            },
            ..Default::default()
        };
        let ticker = ticker::server::Config {
            interval: Duration::from_secs(3600),
            updates: Some(1),
            ..Default::default()
        };
        let hosted: Vec<Box<dyn host::Hosted>> = vec![
            Box::new(Chat::new(chat::server::Config::default())),
            Box::new(Todo::start(todo).unwrap()),
            Box::new(Ticker::start(ticker).unwrap()),
            Box::new(Messages::start().unwrap()),
        ];
        let handle = host::start(&config, hosted).unwrap();
        Self {
            methods: methods(),
            client: raw(&format!("127.0.0.1:{}", handle.ports()[0])),
            _handle: handle,
        }
    }

    async fn call(&self, input: &[u8]) -> String {
        let Some((method, request)) = input.split_first() else {
            return "no method".into();
        };
        let called = &self.methods[usize::from(*method) % 16];
        let answered = match called.kind {
            MethodType::ServerStreaming => self.stream(called, request).await,
            MethodType::Duplex => self.duplex(called, request).await,
            _ => self.unary(called, request).await,
        };
        let no_message = answered
            .as_ref()
            .is_err_and(|it| it.code() == RpcStatusCode::INTERNAL);
        let sound = if no_message {
            !(called.whole)(request)
        } else {
            (called.pieces)(request)
        };
        assert!(sound, "{}", called.name);
        let outcome = match answered {
            Ok(answers) => {
                let all = answers.iter().all(|answer| (called.answer)(answer));
                assert!(all, "{}: {answers:?}", called.name);
                "OK".into()
            }
            Err(status) => refused(called, &status),
        };
        format!("{} {outcome}", called.name)
    }

    async fn unary(&self, called: &Called, request: &[u8]) -> Result<Vec<Vec<u8>>, RpcStatus> {
        let options = CallOption::default().timeout(SOON);
        let method = bytes(called.kind, called.name);
        let answer = self
            .client
            .unary_call_async(&method, &request.to_vec(), options);
        match answer.unwrap().await {
            Ok(answer) => Ok(vec![answer]),
            Err(grpcio::Error::RpcFailure(status)) => Err(status),
            Err(error) => panic!("{}: {error}", called.name),
        }
    }

    /// Its first message, after which the client leaves. A watch is asked for one, and
    /// readers are sent one, since nothing comes by itself.
    async fn stream(&self, called: &Called, request: &[u8]) -> Result<Vec<Vec<u8>>, RpcStatus> {
        let mut request = request.to_vec();
        if called.name == todo::wire::WATCH_TASKS.name && (called.pieces)(&request) {
            request.extend(b"\x08\x01");
        }
        let method = bytes(called.kind, called.name);
        let mut stream = Stream::open(&self.client, &method, &request);
        if called.name != chat::wire::READ_MESSAGES.name {
            return stream.next().await.map(|first| vec![first]);
        }
        let send = bytes(MethodType::Unary, chat::wire::SEND_MESSAGE.name);
        loop {
            if let Some(first) = stream.next().now_or_never() {
                return first.map(|first| vec![first]);
            }
            let options = CallOption::default().timeout(SOON);
            let sent = self.client.unary_call_async(&send, &Vec::new(), options);
            let _ = sent.unwrap().await;
        }
    }

    /// The request twice, and all that is answered to it.
    async fn duplex(&self, called: &Called, request: &[u8]) -> Result<Vec<Vec<u8>>, RpcStatus> {
        let method = bytes(called.kind, called.name);
        let options = CallOption::default().timeout(SOON);
        let (mut sender, mut receiver) = self.client.duplex_streaming(&method, options).unwrap();
        // Refused at the first one, the second may not be taken.
        for _ in 0..2 {
            let _ = sender.send((request.to_vec(), WriteFlags::default())).await;
        }
        let _ = sender.close().await;
        let mut answers = Vec::new();
        loop {
            match receiver.next().await {
                Some(Ok(answer)) => answers.push(answer),
                Some(Err(grpcio::Error::RpcFailure(status))) => return Err(status),
                Some(Err(error)) => panic!("{}: {error}", called.name),
                None => return Ok(answers),
            }
        }
    }
}

/// A panic in a handler would be INTERNAL, and a stall DEADLINE_EXCEEDED.
fn refused(called: &Called, status: &RpcStatus) -> String {
    let (code, message) = (status.code(), status.message());
    let name = called.name;
    match code {
        RpcStatusCode::INTERNAL => {
            let why = message.starts_with("Failed to deserialize");
            assert!(why, "{name}: {status}");
            return "no message".into();
        }
        RpcStatusCode::INVALID_ARGUMENT => {
            let fields = [
                "author",
                "text",
                "title",
                "n",
                "ticker_symbol",
                "request",
                "message_request",
            ];
            let named = message
                .split_once(": ")
                .is_some_and(|(field, _)| fields.contains(&field));
            assert!(named, "{name}: {status}");
        }
        RpcStatusCode::NOT_FOUND => {
            assert!(
                ["Task not found", "unknown service"].contains(&message),
                "{name}: {status}"
            );
        }
        RpcStatusCode::RESOURCE_EXHAUSTED => {
            assert_eq!(
                (name, message),
                ("/todo.TodoService/AddTask", "tasks: the limit is 100")
            );
        }
        _ => panic!("{name}: {status}"),
    }
    plain(message)
}
