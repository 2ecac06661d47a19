//! Answers that are lost on their way.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use fastrand::Rng;
use grpcio::{CallOption, Client, MetadataBuilder};
use messenger::chat::wire;
use messenger::grpc::blocking;

use crate::support::lossy::Lossy;
use crate::support::metrics::Scrape;
use crate::support::programs::{Server, messenger};
use crate::support::rpc::{self, Reader, raw};
use crate::support::{SOON, heavy};

const SENDS: usize = 10_000;
/// In flight on a connection.
const BATCH: usize = 25;
/// What the server says of one call, about, and of a connection before.
const ANSWER_BYTES: usize = 50;
const FIRST_BYTES: usize = 200;

/// Sends these at once; the times in the answers that came.
fn send(client: &Client, numbers: &[usize]) -> Vec<(usize, i64)> {
    let call = |number: &usize| {
        let mut metadata = MetadataBuilder::new();
        let key = format!("key-{number}");
        metadata.add_str(wire::KEY_METADATA, &key).unwrap();
        let options = CallOption::default().headers(metadata.build());
        let request = wire::SendMessageRequest {
            author: "a".into(),
            text: number.to_string(),
            ..Default::default()
        };
        let options = options.timeout(SOON);
        let answer = client.unary_call_async(&wire::SEND_MESSAGE, &request, options);
        (*number, answer.unwrap())
    };
    // All are on their way before the first answer is waited for.
    let calls: Vec<_> = numbers.iter().map(call).collect();
    let answers = calls.into_iter().filter_map(|(number, answer)| {
        let answer = blocking::wait(answer, None).unwrap();
        let time = answer.map(|answer| wire::response_time(&answer).nanos());
        Some((number, time.ok()?))
    });
    answers.collect()
}

#[test]
fn of_10_000_sends_whose_answers_are_lost_by_half_each_is_delivered_once() {
    let _machine = heavy();
    let process = messenger(&["server", "--port", "0", "--metrics-port", "0"]);
    let server = Server::listening(process, 1);
    let reader = Reader::start(&server.address());
    let mut rng = Rng::with_seed(18);
    let proxy = Lossy::start(server.port(), move || {
        FIRST_BYTES + rng.usize(..BATCH * ANSWER_BYTES)
    });
    let (tries, answered) = (AtomicUsize::new(0), Mutex::new(HashMap::new()));
    let send_all = |numbers: Vec<usize>| {
        let client = raw(&proxy.address());
        for batch in numbers.chunks(BATCH) {
            let mut left = batch.to_vec();
            while !left.is_empty() {
                tries.fetch_add(left.len(), Ordering::Relaxed);
                let came = send(&client, &left);
                left.retain(|number| !came.iter().any(|(it, _)| it == number));
                answered.lock().unwrap().extend(came);
            }
        }
    };
    thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || send_all((worker..SENDS).step_by(8).collect()));
        }
    });
    let (tries, answered) = (tries.into_inner(), answered.into_inner().unwrap());
    let lost = Scrape::of(server.metrics_port()).sum("messenger_sends_repeated_total", &[]);
    println!("{tries} tries for {SENDS} messages; {lost} came after a lost answer");
    assert!(lost >= SENDS as f64 / 2.0, "{lost}");
    assert_eq!(answered.len(), SENDS);
    // All of them again, past the proxy.
    let client = raw(&server.address());
    let numbers: Vec<_> = (0..SENDS).collect();
    let again = numbers.chunks(1000).flat_map(|some| send(&client, some));
    assert_eq!(again.collect::<HashMap<_, _>>(), answered);
    for _ in 0..SENDS {
        let message = reader.next();
        let number: usize = message.text.parse().unwrap();
        assert_eq!(answered.get(&number), Some(&message.send_time.nanos()));
    }
    // Nothing came twice, or it would come before this one.
    let last = rpc::send(&rpc::client(&server.address()), "a", "last");
    assert_eq!(reader.next().send_time.nanos(), last);
}
