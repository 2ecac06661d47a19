//! What the server counts, after known traffic.

use grpcio::CallOption;
use messenger::chat::wire;
use messenger::ticker::client::TickerClient;
use messenger::todo::client::TodoClient;
use protobuf::well_known_types::empty::Empty;

use crate::support::SOON;
use crate::support::metrics::{Scrape, wait_for};
use crate::support::programs::{Program, Server};
use crate::support::rpc::{Reader, client, connection, narrow, open, raw, send};

const CHAT: &str = "service=\"mes_grpc.MessengerServer\"";
/// The messages of [`CHAT`], by Subscribe.
const BATCHES: &str = "service=\"messenger.v1.Chat\"";
const SEND: &str = "grpc_method=\"SendMessage\"";
const READ: &str = "grpc_method=\"ReadMessages\"";
const SUBSCRIBE: &str = "grpc_method=\"Subscribe\"";

fn start(flags: &[&str]) -> (Program, u16) {
    let server = Server::start(&[&["--metrics-port", "0"], flags].concat());
    let port = server.metrics_port();
    (server, port)
}

#[test]
fn messages_deliveries_and_calls_are_counted_exactly() {
    const MESSAGES: u32 = 50;
    const READERS: u32 = 7;
    let (server, port) = start(&["--memory-limit", "67108864"]);
    let address = server.address();
    let before = Scrape::of(port);
    for series in [
        format!("messenger_messages_accepted_total{{{CHAT}}}"),
        format!("messenger_slow_consumers_total{{{CHAT}}}"),
        format!("messenger_deliveries_total{{{CHAT}}}"),
        format!("messenger_deliveries_total{{{BATCHES}}}"),
        "messenger_streams".into(),
    ] {
        assert_eq!(before.value(&series), Some(0.0), "{series}");
    }
    assert_eq!(
        before.sum("messenger_memory_limit_bytes", &["\"grpc\""]),
        16.0 * 1024.0 * 1024.0
    );
    assert_eq!(before.kinds["messenger_streams"], "gauge");
    assert_eq!(before.kinds["messenger_deliveries_total"], "counter");
    let readers: Vec<_> = (0..READERS).map(|_| Reader::start(&address)).collect();
    let sender = client(&address);
    for number in 0..MESSAGES {
        send(&sender, "anna", &number.to_string());
    }
    for reader in &readers {
        for number in 0..MESSAGES {
            assert_eq!(reader.next().text, number.to_string());
        }
    }
    let refused = sender.send(&"a".repeat(257), "", SOON).unwrap_err();
    assert_eq!(refused.code, messenger::error::Code::InvalidArgument);
    let all = f64::from(MESSAGES * READERS);
    wait_for(port, "messenger_deliveries_total", &[BATCHES], all);
    let scrape = Scrape::of(port);
    let (messages, readers_open) = (f64::from(MESSAGES), f64::from(READERS));
    for (name, labels, value) in [
        ("messenger_messages_accepted_total", &[CHAT][..], messages),
        ("messenger_backlog_bytes", &[CHAT], 0.0),
        ("messenger_streams", &[], readers_open),
        (
            "grpc_server_started_total",
            &[SEND, "\"unary\""],
            messages + 1.0,
        ),
        ("grpc_server_handled_total", &[SEND, "\"OK\""], messages),
        (
            "grpc_server_handled_total",
            &[SEND, "\"INVALID_ARGUMENT\""],
            1.0,
        ),
        (
            "grpc_server_handling_seconds_count",
            &[SEND],
            messages + 1.0,
        ),
        (
            "grpc_server_started_total",
            &[SUBSCRIBE, "\"server_stream\""],
            readers_open,
        ),
        ("grpc_server_handled_total", &[SUBSCRIBE], 0.0),
    ] {
        assert_eq!(scrape.sum(name, labels), value, "{name} {labels:?}");
    }
    drop(readers);
    wait_for(
        port,
        "grpc_server_handled_total",
        &[SUBSCRIBE, "\"CANCELLED\""],
        readers_open,
    );
    wait_for(port, "messenger_streams", &[], 0.0);
    assert_eq!(
        Scrape::of(port).sum("messenger_slow_consumers_total", &[]),
        0.0
    );
}

#[test]
fn a_reader_that_is_cut_counts_with_what_it_was_sent() {
    let (server, port) = start(&["--backlog-bytes", "1048576"]);
    let mut lazy = open(&server, &narrow(&server.address()));
    let sender = client(&server.address());
    let (text, mut sent, mut waited) = ("x".repeat(64 * 1024), 0, 0.0);
    while Scrape::of(port).sum("messenger_slow_consumers_total", &[CHAT]) == 0.0 {
        waited = f64::max(
            waited,
            Scrape::of(port).sum("messenger_backlog_bytes", &[CHAT]),
        );
        assert!(sent < 1000, "64 MiB are no backlog of 1 MiB");
        send(&sender, "a", &text);
        sent += 1;
    }
    assert!(
        (524_288.0..=1_048_576.0).contains(&waited),
        "{waited} bytes waited"
    );
    let received = (0..).find(|_| lazy.wait().is_err()).unwrap();
    assert!(received < sent, "{received} of {sent}");
    wait_for(
        port,
        "messenger_deliveries_total",
        &[CHAT],
        f64::from(received),
    );
    let cut = &[READ, "\"RESOURCE_EXHAUSTED\""];
    wait_for(port, "grpc_server_handled_total", cut, 1.0);
    wait_for(port, "messenger_backlog_bytes", &[CHAT], 0.0);
    let scrape = Scrape::of(port);
    assert_eq!(
        scrape.sum("messenger_messages_accepted_total", &[CHAT]),
        f64::from(sent)
    );
    assert_eq!(scrape.sum("messenger_slow_consumers_total", &[]), 1.0);
}

#[test]
fn changes_commits_and_quotes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let quick = ["--ticker-interval", "10ms", "--ticker-updates", "3"];
    let (server, port) = start(&[&quick[..], &["--data-dir", data]].concat());
    let todo = TodoClient::over(connection(&server.address()), SOON);
    let (mut watcher, _) = todo.watch(SOON).unwrap();
    let ids = ["a", "b", "c"].map(|title| todo.add(title).unwrap().id);
    todo.complete(ids[0]).unwrap();
    // Completed before: no change, and nothing to store.
    todo.complete(ids[0]).unwrap();
    for _ in 0..4 {
        watcher.recv().unwrap();
    }
    const TODO: &str = "service=\"todo.TodoService\"";
    wait_for(port, "messenger_deliveries_total", &[TODO], 4.0);
    let scrape = Scrape::of(port);
    assert_eq!(
        scrape.sum("messenger_messages_accepted_total", &[TODO]),
        4.0
    );
    assert_eq!(
        scrape.sum("messenger_commit_seconds_count", &["store=\"todo\""]),
        4.0
    );

    let ticker = TickerClient::over(connection(&server.address()), SOON);
    let (mut requests, mut updates) = ticker.open().unwrap();
    for symbol in ["AAPL", "GOOGL"] {
        requests.ask(symbol).unwrap();
    }
    requests.close().unwrap();
    let quotes = (0..).find(|_| updates.recv().unwrap().is_none()).unwrap();
    let of = "grpc_type=\"bidi_stream\"";
    wait_for(port, "grpc_server_handled_total", &[of, "\"OK\""], 1.0);
    let sent = Scrape::of(port).sum("messenger_deliveries_total", &["StockTicker"]);
    assert_eq!((quotes, sent), (6, 6.0));
}

#[test]
fn what_strangers_send_makes_no_series() {
    let (server, port) = start(&[]);
    let client = raw(&server.address());
    let call = |name: String| {
        let name: &'static str = name.leak();
        let method = messenger::grpc::method::unary::<Empty, Empty>(name);
        client.unary_call(&method, &Empty::new(), CallOption::default().timeout(SOON))
    };
    let request = wire::SendMessageRequest::default();
    let options = CallOption::default().timeout(SOON);
    client
        .unary_call(&wire::SEND_MESSAGE, &request, options)
        .unwrap();
    let before = Scrape::of(port);
    for number in 0..20 {
        assert!(call(format!("/mes_grpc.MessengerServer/Secret{number}")).is_err());
        assert!(call(format!("/secret{number}.Service/SendMessage")).is_err());
    }
    let after = Scrape::of(port);
    assert_eq!(
        (after.len(), after.text.contains("ecret")),
        (before.len(), false)
    );
}
