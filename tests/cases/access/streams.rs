//! A stream ends when its token does, and no other one.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use grpcio::{Client, RpcStatusCode};

use messenger::access::Right;

use crate::support::SOON;
use crate::support::process::Signal;
use crate::support::programs::Server;
use crate::support::rpc::raw;
use crate::support::tokens::{Call, Tokens, bearer};

const SUBSCRIBE: &str = "/messenger.v1.Chat/Subscribe";

/// The streams, and a request that brings a first message.
const STREAMS: [(&str, &[u8]); 4] = [
    (SUBSCRIBE, b""),
    ("/todo.TodoService/WatchTasks", b"\x08\x01"),
    ("/StockTicker/SubscribeToStockUpdates", b"\x0a\x01A"),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        b"\x3a\x00",
    ),
];

/// The promise is one second; the rest is a busy machine's share.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One of each kind, which has brought something.
fn open(client: &Client, token: &str) -> Vec<Call> {
    let open = |(method, request): &(&str, &[u8])| {
        let mut call = Call::open(client, method, &[&bearer(token)]);
        call.ask(request, false);
        call.next().expect("a message");
        call
    };
    STREAMS.iter().map(open).collect()
}

fn all_end(streams: &mut [Call], message: &str) {
    let started = Instant::now();
    for stream in streams {
        let status = stream.end();
        assert_eq!(status.code(), RpcStatusCode::UNAUTHENTICATED, "{status:?}");
        assert!(status.message().contains(message), "{status:?}");
    }
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
}

#[test]
fn streams_end_when_their_token_is_taken_out_or_expires_or_loses_the_right() {
    let tokens = Tokens::new();
    let flags = [&tokens.flags()[..], &["--max-streams", "16"]].concat();
    let [gone, poor, stays] = ["gone", "poor", "stays"].map(|name| tokens.add(name, &["*"]));
    let expires = SystemTime::now() + Duration::from_secs(3);
    let short = tokens.add_until("short", &["*"], expires);
    let server = Server::start(&flags);
    let client = raw(&server.address());
    let mut all = [&gone, &poor, &short, &stays].map(|token| open(&client, token));
    assert!(SystemTime::now() < expires, "the machine is too busy");

    tokens.remove("gone");
    all_end(&mut all[0], "no such token");
    tokens.change(|entries| {
        let poor = entries.iter_mut().find(|entry| entry.name == "poor");
        poor.unwrap().rights = vec![Right::ChatWrite];
    });
    all_end(&mut all[1][..3], ":read");
    all_end(&mut all[2], "has expired");

    // Places are free again, and the others have gone on.
    let mut again = open(&client, &stays);
    let mut send = Call::open(
        &client,
        "/mes_grpc.MessengerServer/SendMessage",
        &[&bearer(&poor)],
    );
    send.ask(b"\x0a\x01a\x12\x05Hello", true);
    send.next().expect("a time");
    for reader in [&mut all[3][0], &mut again[0]] {
        let message = reader.next().expect("the message");
        assert!(String::from_utf8_lossy(&message).contains("Hello"));
    }
    // This one needs any token only.
    all[1][3].ask(STREAMS[3].1, true);
    all[1][3].next().expect("an answer");
}

#[test]
fn a_broken_file_changes_nothing_and_is_named_with_its_line() {
    let tokens = Tokens::new();
    let anna = tokens.add("anna", &["*"]);
    let mut server = Server::start(&tokens.flags());
    let client = raw(&server.address());
    let mut stream = open(&client, &anna).remove(0);
    let good = fs::read_to_string(tokens.path()).unwrap();
    fs::write(tokens.path(), format!("{good}{good}")).unwrap();
    server.wait_for_log(SOON, "the old one stays");
    let log = server.log();
    assert!(
        log.contains("tokens.jsonl: line 2: the same name or sha256 as anna"),
        "{log}"
    );
    open(&client, &anna);

    fs::write(tokens.path(), &good).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log(SOON, "was read again");
    open(&client, &anna);
    tokens.remove("anna");
    all_end(std::slice::from_mut(&mut stream), "no such token");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(SOON), 0);
}

#[test]
fn five_hundred_streams_end_with_their_token() {
    let tokens = Tokens::new();
    let many = tokens.add("many", &["chat:read"]);
    let server = Server::start(&tokens.flags());
    let clients: Vec<_> = (0..5).map(|_| raw(&server.address())).collect();
    let open = |n: usize| {
        let mut call = Call::open(&clients[n % clients.len()], SUBSCRIBE, &[&bearer(&many)]);
        call.ask(b"", false);
        call
    };
    let mut streams: Vec<_> = (0..500).map(open).collect();
    for stream in &mut streams {
        stream.next().expect("the confirmation");
    }
    tokens.remove("many");
    all_end(&mut streams, "no such token");
    server.wait_for_threads("subscribe-", 0);
    assert_eq!(server.threads_named("access-timer"), 1);
}
