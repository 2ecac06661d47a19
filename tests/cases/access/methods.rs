//! Every method of every service, asked with each kind of token.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use grpcio::{Client, RpcStatus, RpcStatusCode};
use messenger::chat::client::ChatClient;

use super::super::layout::{files, root};
use crate::support::programs::Server;
use crate::support::rpc::raw;
use crate::support::tokens::{Call, Tokens, bearer};
use crate::support::{SOON, eventually};

/// What a method needs: a right, any token, or nothing.
const NEEDS: &[(&str, &str)] = &[
    ("/grpc.health.v1.Health/Check", "nothing"),
    ("/grpc.health.v1.Health/Watch", "nothing"),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "any",
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "any",
    ),
    ("/mes_grpc.MessengerServer/SendMessage", "chat:write"),
    ("/mes_grpc.MessengerServer/ReadMessages", "chat:read"),
    ("/messenger.v1.Chat/Subscribe", "chat:read"),
    ("/todo.TodoService/AddTask", "todo:write"),
    ("/todo.TodoService/CompleteTask", "todo:write"),
    ("/todo.TodoService/GetTasks", "todo:read"),
    ("/todo.TodoService/WatchTasks", "todo:read"),
    ("/StockTicker/SubscribeToStockUpdates", "ticker:read"),
    ("/message.MessageService/ProcessMessage", "message:call"),
    ("/message.MessageService/AssignAB", "message:call"),
    ("/message.MessageService/Factorial", "message:call"),
    ("/message.MessageService/MostFrequentLetter", "message:call"),
];

const RIGHTS: [&str; 6] = [
    "chat:read",
    "chat:write",
    "todo:read",
    "todo:write",
    "ticker:read",
    "message:call",
];

/// The methods that the files in proto/ declare.
fn declared() -> Vec<String> {
    let mut methods = Vec::new();
    for file in files(&root().join("proto"), ".proto") {
        let (mut package, mut service) = (String::new(), String::new());
        for line in fs::read_to_string(file).unwrap().lines() {
            let mut words = line.split([' ', ';', '(', '{']).filter(|it| !it.is_empty());
            match (words.next(), words.next()) {
                (Some("package"), Some(name)) => package = format!("{name}."),
                (Some("service"), Some(name)) => service = name.to_owned(),
                (Some("rpc"), Some(name)) => methods.push(format!("/{package}{service}/{name}")),
                _ => {}
            }
        }
    }
    methods.sort();
    methods
}

#[test]
fn every_method_says_what_it_needs() {
    let mut named: Vec<_> = NEEDS.iter().map(|(method, _)| method.to_string()).collect();
    named.sort();
    assert_eq!(named, declared());
}

/// Whether a handler has heard of the call, else with which status it was refused.
fn ask(client: &Client, method: &str, authorization: &[&str]) -> Result<(), RpcStatus> {
    let mut call = Call::open(client, method, authorization);
    // A watch begins with what is asked for.
    let request: &[u8] = match method.ends_with("WatchTasks") {
        true => b"\x08\x01",
        false => b"",
    };
    call.ask(request, true);
    match call.next() {
        Err(status) if is_refusal(&status) => Err(status),
        _ => Ok(()),
    }
}

/// Sends messages for those who read, until this is dropped.
fn sends(server: &str, tokens: &Tokens) -> crossbeam_channel::Sender<()> {
    let sender = tokens.add("sender", &["chat:write"]);
    let sender = ChatClient::over(tokens.connection(server, &sender));
    let (running, stop) = crossbeam_channel::bounded(0);
    thread::spawn(move || {
        while stop.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
            let _ = sender.send("", "", SOON);
        }
    });
    running
}

fn let_in(client: &Client, method: &str, authorization: &[&str]) {
    let asked = ask(client, method, authorization);
    assert!(asked.is_ok(), "{method}: {asked:?}");
}

fn is_refusal(status: &RpcStatus) -> bool {
    [
        RpcStatusCode::UNAUTHENTICATED,
        RpcStatusCode::PERMISSION_DENIED,
    ]
    .contains(&status.code())
}

#[test]
fn every_method_lets_in_who_has_a_token_with_the_right_and_nobody_else() {
    let tokens = Tokens::new();
    let past = SystemTime::now() - Duration::from_secs(1);
    let expired = tokens.add_until("expired", &["*"], past);
    let removed = tokens.add("removed", &["*"]);
    let any = tokens.add("any", &[]);
    let mut only = BTreeMap::new();
    let mut all_but = BTreeMap::new();
    for right in RIGHTS {
        let name = right.replace(':', "-");
        only.insert(right, tokens.add(&format!("only-{name}"), &[right]));
        let others = RIGHTS.iter().copied().filter(|other| *other != right);
        let others: Vec<_> = others.collect();
        all_but.insert(right, tokens.add(&format!("all-but-{name}"), &others));
    }
    let server = Server::start(&tokens.flags());
    let client = raw(&server.address());
    let _running = sends(&server.address(), &tokens);
    tokens.remove("removed");
    eventually(SOON, "the token is out", || {
        ask(&client, NEEDS[4].0, &[&bearer(&removed)]).is_err()
    });
    let (basic, none_after) = (format!("Basic {any}"), bearer(""));
    for (method, need) in NEEDS {
        let refused = |authorization: &[&str], message: &str| {
            let status = ask(&client, method, authorization).expect_err(method);
            assert_eq!(status.code(), RpcStatusCode::UNAUTHENTICATED, "{method}");
            assert!(status.message().contains(message), "{method}: {status:?}");
            assert!(!status.message().contains("secret"), "{status:?}");
        };
        if *need == "nothing" {
            let_in(&client, method, &[]);
            let_in(&client, method, &["nonsense"]);
            continue;
        }
        refused(&[], "missing");
        for malformed in ["nonsense", "Bearer", &none_after, &basic, &any] {
            refused(&[malformed], "not of the form");
        }
        refused(&[&bearer(&any), &bearer(&any)], "not of the form");
        refused(&[&bearer("secret-wrong")], "no such token");
        refused(&[&bearer(&removed)], "no such token");
        refused(&[&bearer(&expired)], "has expired");
        if *need == "any" {
            let_in(&client, method, &[&bearer(&any)]);
            continue;
        }
        for token in [&any, &all_but[need]] {
            let status = ask(&client, method, &[&bearer(token)]).expect_err(method);
            assert_eq!(status.code(), RpcStatusCode::PERMISSION_DENIED, "{method}");
            assert!(status.message().ends_with(need), "{method}: {status:?}");
        }
        let with_right = bearer(&only[need]).replace("Bearer", "bearer");
        let_in(&client, method, &[&with_right]);
    }
    assert!(!server.log().contains("secret"), "{}", server.log());
}
