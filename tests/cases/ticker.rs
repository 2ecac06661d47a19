//! The stock ticker: what a stream is told, when, and until when.

mod market;
mod peers;
mod streams;

use std::thread;

use messenger::error::{Code, Error};
use messenger::ticker::client::{TickerClient, TickerRequests};
use messenger::ticker::wire::Update;

use crate::support::SOON;
use crate::support::feed::Feed;
use crate::support::programs::{Program, Server};
use crate::support::rpc::connection;

/// A client with a connection of its own.
fn client(server: &str) -> TickerClient {
    TickerClient::over(connection(server), SOON)
}

/// A stream without symbols that is read from the start.
fn open(client: &TickerClient) -> (TickerRequests, Feed<Update>) {
    let (requests, mut stream) = client.open().expect("a stream");
    let client = client.clone();
    let feed = Feed::start(stream.abort_handle(), move || {
        let _connection = &client;
        stream.recv()
    });
    (requests, feed)
}

/// Says that no more symbols will come. The end of a stream that has nothing
/// left to tell may overtake the word that this is out.
fn half_close(requests: &mut TickerRequests) {
    let _ = requests.close();
}

/// Waits until the threads of so many streams are left.
fn wait_for_streams(server: &Program, count: usize) {
    // The market's thread is there always.
    server.wait_for_threads("ticker-", count + 1);
}

/// Whether `next` follows on `update` without a step in between.
fn follows(update: &Update, next: &Update) -> bool {
    next.quote.price.0 - next.quote.change.0 == update.quote.price.0
}

/// The updates of one symbol.
fn of(updates: &[Update], symbol: &str) -> Vec<Update> {
    let same = updates.iter().filter(|update| update.symbol == symbol);
    same.cloned().collect()
}

#[test]
fn a_symbol_that_joins_comes_at_once_and_the_others_keep_their_beat() {
    let server = Server::start(&["--ticker-interval", "1s", "--ticker-updates", "4"]);
    let (mut requests, feed) = open(&client(&server.address()));
    requests.ask("AAPL").unwrap();
    let mut updates = vec![feed.next(), feed.next()];
    // A step has just been made, so there is an interval until the next.
    requests.ask("GOOGL").unwrap();
    half_close(&mut requests);
    updates.push(feed.next());
    assert_eq!(updates[2].symbol, "GOOGL", "before the next step");
    assert_eq!(updates[2].time, updates[1].time, "the step that is there");
    let (rest, end) = feed.rest(SOON);
    assert_eq!(end, Ok(()));
    updates.extend(rest);
    let symbols: Vec<_> = updates.iter().map(|update| &*update.symbol).collect();
    let steps = [
        &["AAPL"][..],
        &["AAPL", "GOOGL"],
        &["AAPL", "GOOGL"],
        &["AAPL", "GOOGL"],
        &["GOOGL"],
    ];
    assert_eq!(symbols, steps.concat());
    for symbol in ["AAPL", "GOOGL"] {
        let updates = of(&updates, symbol);
        assert!(updates.windows(2).all(|pair| follows(&pair[0], &pair[1])));
    }
    wait_for_streams(&server, 0);
}

#[test]
fn a_half_closed_stream_without_symbols_ends_at_once() {
    let server = Server::start(&[]);
    let (mut requests, feed) = open(&client(&server.address()));
    half_close(&mut requests);
    assert_eq!(feed.event(), Ok(None));
    wait_for_streams(&server, 0);
}

#[test]
fn without_a_count_a_half_closed_stream_stays_until_its_client_leaves() {
    let server = Server::start(&["--ticker-interval", "50ms", "--ticker-updates", "0"]);
    let (mut requests, feed) = open(&client(&server.address()));
    for symbol in ["A", "B"] {
        requests.ask(symbol).unwrap();
    }
    half_close(&mut requests);
    let updates: Vec<_> = (0..40).map(|_| feed.next()).collect();
    assert!(of(&updates, "A").len() > 15 && of(&updates, "B").len() > 15);
    wait_for_streams(&server, 1);
    drop(feed);
    wait_for_streams(&server, 0);
}

#[test]
fn repeating_a_symbol_restarts_its_count() {
    let server = Server::start(&["--ticker-interval", "1s", "--ticker-updates", "3"]);
    let (mut requests, feed) = open(&client(&server.address()));
    requests.ask("BRK.B").unwrap();
    let mut updates = vec![feed.next(), feed.next()];
    requests.ask("BRK.B").unwrap();
    half_close(&mut requests);
    let (rest, end) = feed.rest(SOON);
    assert_eq!(end, Ok(()));
    updates.extend(rest);
    assert_eq!(updates.len(), 2 + 3);
    assert_eq!(updates[1], updates[2], "the newest step, again");
    updates.remove(1);
    assert!(updates.windows(2).all(|pair| follows(&pair[0], &pair[1])));
    assert!(updates.iter().all(|update| update.symbol == "BRK.B"));
}

#[test]
fn a_symbol_after_its_count_was_full_is_a_new_one() {
    let server = Server::start(&["--ticker-interval", "60m", "--ticker-updates", "1"]);
    let (mut requests, feed) = open(&client(&server.address()));
    for _ in 0..200 {
        requests.ask("A").unwrap();
        assert_eq!(feed.next().symbol, "A");
    }
    half_close(&mut requests);
    assert_eq!(feed.event(), Ok(None));
}

#[test]
fn what_is_no_symbol_ends_its_stream_and_is_named() {
    let server = Server::start(&["--ticker-updates", "0"]);
    let ticker = client(&server.address());
    let (mut others, untouched) = open(&ticker);
    others.ask("A-1.B").unwrap();
    assert_eq!(untouched.next().symbol, "A-1.B");
    let long = "X".repeat(10_000);
    let over = "Ж".repeat(33);
    for wrong in ["", &over, "A B", "A\n", "A\0", "\u{a0}", &long] {
        let (mut requests, feed) = open(&ticker);
        requests.ask("ABCDEFGHIJ").unwrap();
        assert_eq!(feed.next().symbol, "ABCDEFGHIJ");
        // The answer may overtake the word that the request is out.
        let _ = requests.ask(wrong);
        let error = feed.event().unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{error}");
        let named = format!("{:?}", wrong.chars().take(64).collect::<String>());
        assert!(error.message.contains(&named), "{named}: {error}");
        assert!(error.message.contains("ticker_symbol"), "{error}");
    }
    wait_for_streams(&server, 1);
    others.ask("still").unwrap();
    assert_eq!(untouched.next().symbol, "still");
}

#[test]
fn any_symbol_is_answered_as_it_was_sent() {
    let server = Server::start(&["--ticker-interval", "60m", "--ticker-updates", "1"]);
    let (mut requests, feed) = open(&client(&server.address()));
    let most = "Ж".repeat(32);
    for symbol in [
        "AAPL", "aapl", "Сбер", "BRK/B", "^GSPC", "A,B", "%41", "🦀", &most,
    ] {
        requests.ask(symbol).unwrap();
        assert_eq!(feed.next().symbol, symbol);
    }
    half_close(&mut requests);
    assert_eq!(feed.event(), Ok(None));
}

#[test]
fn the_hundred_and_first_symbol_is_one_too_many() {
    let server = Server::start(&["--ticker-interval", "60m", "--ticker-updates", "0"]);
    let (mut requests, feed) = open(&client(&server.address()));
    for number in 0..100 {
        requests.ask(&format!("S{number}")).unwrap();
    }
    for number in 0..100 {
        assert_eq!(feed.next().symbol, format!("S{number}"));
    }
    requests.ask("S7").unwrap();
    assert_eq!(feed.next().symbol, "S7", "not a new one");
    // The answer may overtake the word that the request is out.
    let _ = requests.ask("S100");
    let error = feed.event().unwrap_err();
    assert_eq!(error.code, Code::ResourceExhausted);
    assert!(error.message.contains("S100") && error.message.contains("100 a stream"));
}

#[test]
fn a_stream_goes_on_when_its_client_is_dropped() {
    let server = Server::start(&["--ticker-interval", "10ms", "--ticker-updates", "3"]);
    let (mut requests, mut stream) = client(&server.address()).open().unwrap();
    requests.ask("A").unwrap();
    half_close(&mut requests);
    let feed = Feed::start(stream.abort_handle(), move || stream.recv());
    let (updates, end) = feed.rest(SOON);
    assert_eq!(end, Ok(()));
    assert!(!updates.is_empty());
}

#[test]
fn short_streams_end_with_ok_however_their_requests_and_steps_fall() {
    let server = Server::start(&["--ticker-interval", "10ms", "--ticker-updates", "1"]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ticker = client(&server.address());
                for round in 0..150 {
                    let (mut requests, feed) = open(&ticker);
                    let count = round % 3;
                    for symbol in 0..count {
                        requests.ask(&format!("S{symbol}")).unwrap();
                    }
                    half_close(&mut requests);
                    let (updates, end) = feed.rest(SOON);
                    assert_eq!((updates.len(), end), (count, Ok(())));
                }
            });
        }
    });
    wait_for_streams(&server, 0);
}

#[test]
fn a_stream_too_many_is_told_so() {
    let flags = ["--ticker-interval", "10ms", "--ticker-updates", "0"];
    let server = Server::start(&[&flags[..], &["--max-streams", "1"]].concat());
    let ticker = client(&server.address());
    let (mut requests, feed) = open(&ticker);
    requests.ask("A").unwrap();
    feed.next();
    let full = Error::new(
        Code::ResourceExhausted,
        "streams: 1 are open, which is the limit",
    );
    for _ in 0..20 {
        // Side by side with updates, and with each other.
        let refused: Vec<_> = (0..50).map(|_| open(&ticker)).collect();
        for (_, feed) in &refused {
            assert_eq!(feed.event(), Err(full.clone()));
        }
    }
    drop(feed);
    wait_for_streams(&server, 0);
    let (mut requests, feed) = open(&ticker);
    requests.ask("B").unwrap();
    assert_eq!(feed.next().symbol, "B");
}
