//! The requests of all methods, called on a server of this process with all services: the
//! C core, the handlers and the services as they are.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use grpcio::{
    CallOption, Client, GrpcSlice, MessageReader, MethodType, RpcStatus, RpcStatusCode, WriteFlags,
    pb_de,
};
use messenger::chat::server::{self as chat, Chat};
use messenger::generated::{
    fin, health, message_service as jobs, messenger as proto, reflection, todo,
};
use messenger::grpc::{blocking, host, server};
use messenger::jobs::server::Messages;
use messenger::ticker::server::{self as ticker, Ticker};
use messenger::todo::list::Limits;
use messenger::todo::server::{self as todo_server, Todo};
use protobuf::Message;
use protobuf::well_known_types::empty::Empty;

use super::driver::{self, Target, plain};
use super::messages::WORDS;
use crate::support::SOON;
use crate::support::rpc::{Stream, acknowledged, bytes, raw};

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

const fn called<Q: Message, A: Message>(kind: MethodType, name: &'static str) -> Called {
    Called {
        kind,
        name,
        // rust-protobuf takes more from pieces than as a whole: see `messages`.
        whole: |bytes| Q::parse_from_bytes(bytes).is_ok(),
        pieces: |bytes| {
            let bytes: Vec<_> = bytes.chunks(1).map(GrpcSlice::from).collect();
            pb_de::<Q>(MessageReader::new((&*bytes).into())).is_ok()
        },
        answer: |bytes| A::parse_from_bytes(bytes).is_ok(),
    }
}

use MethodType::{Duplex, ServerStreaming, Unary};

const METHODS: [Called; 16] = [
    called::<proto::SendMessageRequest, proto::SendMessageResponse>(
        Unary,
        "/mes_grpc.MessengerServer/SendMessage",
    ),
    called::<Empty, proto::ChatMessage>(ServerStreaming, "/mes_grpc.MessengerServer/ReadMessages"),
    called::<todo::AddTaskRequest, todo::AddTaskResponse>(Unary, "/todo.TodoService/AddTask"),
    called::<todo::GetTasksRequest, todo::GetTasksResponse>(Unary, "/todo.TodoService/GetTasks"),
    called::<todo::CompleteTaskRequest, todo::CompleteTaskResponse>(
        Unary,
        "/todo.TodoService/CompleteTask",
    ),
    called::<todo::WatchTasksRequest, todo::TaskUpdate>(
        ServerStreaming,
        "/todo.TodoService/WatchTasks",
    ),
    called::<jobs::MessageRequest, jobs::MessageResponse>(
        Unary,
        "/message.MessageService/ProcessMessage",
    ),
    called::<jobs::ABRequest, jobs::ABResponse>(Unary, "/message.MessageService/AssignAB"),
    called::<jobs::FactorialRequest, jobs::FactorialResponse>(
        Unary,
        "/message.MessageService/Factorial",
    ),
    called::<jobs::TextRequest, jobs::LetterResponse>(
        Unary,
        "/message.MessageService/MostFrequentLetter",
    ),
    called::<fin::TickerRequest, fin::StockUpdate>(Duplex, "/StockTicker/SubscribeToStockUpdates"),
    called::<health::HealthCheckRequest, health::HealthCheckResponse>(
        Unary,
        "/grpc.health.v1.Health/Check",
    ),
    called::<health::HealthCheckRequest, health::HealthCheckResponse>(
        ServerStreaming,
        "/grpc.health.v1.Health/Watch",
    ),
    called::<Empty, Empty>(Unary, "/messenger.Subscriptions/Probe"),
    called::<reflection::ServerReflectionRequest, reflection::ServerReflectionResponse>(
        Duplex,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ),
    called::<reflection::ServerReflectionRequest, reflection::ServerReflectionResponse>(
        Duplex,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ),
];

struct Server {
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
        let todo = todo_server::Config {
            limits: Limits {
                tasks: 100,
                ..Limits::default()
            },
            ..Default::default()
        };
        let ticker = ticker::Config {
            interval: Duration::from_secs(3600),
            updates: Some(1),
            ..Default::default()
        };
        let hosted: Vec<Box<dyn host::Hosted>> = vec![
            Box::new(Chat::new(chat::Config::default())),
            Box::new(Todo::start(todo).unwrap()),
            Box::new(Ticker::start(ticker).unwrap()),
            Box::new(Messages::start().unwrap()),
        ];
        let handle = host::start(&config, hosted).unwrap();
        Self {
            client: raw(&format!("127.0.0.1:{}", handle.ports()[0])),
            _handle: handle,
        }
    }

    async fn call(&self, input: &[u8]) -> String {
        let Some((method, request)) = input.split_first() else {
            return "no method".into();
        };
        let called = &METHODS[usize::from(*method) % METHODS.len()];
        let answered = match called.kind {
            ServerStreaming => self.stream(called, request).await,
            Duplex => self.duplex(called, request).await,
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
        let method = bytes(Unary, called.name);
        let answer = self
            .client
            .unary_call_async(&method, &request.to_vec(), options);
        match answer.unwrap().await {
            Ok(answer) => Ok(vec![answer]),
            Err(grpcio::Error::RpcFailure(status)) => Err(status),
            Err(error) => panic!("{}: {error}", called.name),
        }
    }

    /// Its first message, after which the client leaves.
    async fn stream(&self, called: &Called, request: &[u8]) -> Result<Vec<Vec<u8>>, RpcStatus> {
        let method = bytes(ServerStreaming, called.name);
        let mut stream = Stream::open(&self.client, &method, &request.to_vec(), acknowledged());
        stream.next().await.map(|first| vec![first])
    }

    /// The request twice, and all that is answered to it.
    async fn duplex(&self, called: &Called, request: &[u8]) -> Result<Vec<Vec<u8>>, RpcStatus> {
        let method = bytes(Duplex, called.name);
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
