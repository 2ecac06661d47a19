//! What is in a response, and what is counted.

use messenger::chat::wire;
use protobuf::Message as _;

use super::{Subscriber, call};
use crate::support::http::seen;
use crate::support::metrics;
use crate::support::programs::Server;
use crate::support::rpc::{client, raw, send};
use crate::support::{SOON, eventually};

#[test]
fn a_response_has_what_waits_up_to_its_bounds_and_one_message_of_any_size() {
    let server = Server::start(&[]);
    let address = server.address();
    let start = Subscriber::live(&address).place;
    let sender = client(&address);
    let small = (0..3000).map(|n| n.to_string());
    let large = (0..9).map(|_| "x".repeat(60_000));
    let largest = [(); 2].map(|()| "y".repeat(256 * 1024));
    let texts: Vec<_> = small.chain(large).chain(largest).collect();
    let sent: Vec<_> = texts
        .iter()
        .map(|text| seen("a", text, send(&sender, "a", text)))
        .collect();
    let client = raw(&address);
    let mut stream = call(&client, Some(start.cursor()));
    assert!(stream.wait().unwrap().subscribed.is_some());
    let (mut got, mut sizes) = (Vec::new(), Vec::new());
    while got.len() < sent.len() {
        let response = stream.wait().unwrap();
        let count = response.messages.len();
        assert!((1..=wire::BATCH_MESSAGES).contains(&count), "{count}");
        assert!(count == 1 || response.compute_size() <= wire::BATCH_BYTES as u64);
        sizes.push(count);
        let messages = response.messages.into_iter().map(wire::message);
        got.extend(messages.map(|it| seen(&it.author, &it.text, it.send_time.nanos())));
    }
    assert!(got == sent, "each once, in order");
    assert_eq!(sizes[..2], [1024, 1024]);
    assert_eq!(sizes[sizes.len() - 2..], [1, 1]);
    assert!(sizes.len() <= 9, "{sizes:?}");
}

#[test]
fn metrics_and_the_log_count_messages_and_not_responses() {
    let server = Server::start(&["--metrics-port", "0"]);
    let address = server.address();
    let sender = client(&address);
    let start = Subscriber::live(&address).place;
    for _ in 0..100 {
        send(&sender, "a", "b");
    }
    let mut subscriber = Subscriber::resume(&address, &start);
    subscriber.take(100);
    let labels = ["service=\"messenger.v1.Chat\""];
    metrics::wait_for(
        server.metrics_port(),
        "messenger_deliveries_total",
        &labels,
        100.0,
    );
    drop(subscriber);
    eventually(SOON, "the stream's end in the log", || {
        let log = server.log();
        let mut ends = log.lines().filter(|line| line.contains("stream ended"));
        ends.any(|end| end.contains("/messenger.v1.Chat/Subscribe") && end.contains("messages=100"))
    });
}
