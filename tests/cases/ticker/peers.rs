//! The plain Python programs on either side.

use messenger::ticker::market::Hundredths;

use super::{client, of, open, wait_for_streams};
use crate::support::process::Signal;
use crate::support::programs::{Python, Server};
use crate::support::{SOON, heavy};

/// What the Python client prints of an update.
struct Line {
    symbol: String,
    price: i64,
    change: i64,
}

/// `12:00:00 AAPL: 123.45 -0.67 (-0.54%) volume 4711`
fn parse(line: &str) -> Line {
    let words: Vec<_> = line.split(' ').collect();
    let [_, symbol, price, change, percent, "volume", volume] = words[..] else {
        panic!("{line:?} is no update");
    };
    let cents = |text: &str| Hundredths::from_f64(text.parse().unwrap()).0;
    let percent = percent.trim_matches(['(', ')', '%']);
    assert!(percent.starts_with(['+', '-']) && cents(percent).abs() < 1_000);
    assert!((1_000..=100_000).contains(&volume.parse::<i32>().unwrap()));
    Line {
        symbol: symbol.trim_end_matches(':').into(),
        price: cents(price),
        change: cents(change),
    }
}

#[test]
fn the_python_client_gets_five_updates_of_each_symbol_side_by_side() {
    let _machine = heavy();
    let server = Server::start(&["--ticker-interval", "500ms"]);
    let symbols = ["AAPL", "Сбер", "BRK/B", "tsla"];
    let mut python = Python::ticker_client(&server.address(), "0.4", &symbols);
    let lines = python.lines(SOON);
    assert_eq!(python.wait_exit(SOON), 0, "{}", python.log());
    let updates = lines.iter().filter(|line| !line.starts_with("Subscribing"));
    let updates: Vec<_> = updates.map(|line| parse(line)).collect();
    let mut spans = Vec::new();
    for symbol in symbols {
        let places = (0..updates.len()).filter(|n| updates[*n].symbol == symbol);
        let places: Vec<_> = places.collect();
        assert_eq!(places.len(), 5, "{lines:#?}");
        for pair in places.windows(2) {
            let next = &updates[pair[1]];
            assert_eq!(next.price - next.change, updates[pair[0]].price);
        }
        spans.push((places[0], places[4]));
    }
    assert_eq!(updates.len(), 20);
    for pair in spans.windows(2) {
        assert!(
            pair[1].0 < pair[0].1,
            "one symbol waits for another: {lines:#?}"
        );
    }
    wait_for_streams(&server, 0);
}

#[test]
fn our_client_reads_the_python_server_to_its_end() {
    let _machine = heavy();
    let server = Python::ticker_server("0.02");
    let (mut requests, feed) = open(&client(&server.address()));
    requests.ask("AAPL").unwrap();
    let first = feed.next();
    assert_eq!(first.symbol, "AAPL");
    requests.ask("GOOGL").unwrap();
    requests.close().unwrap();
    let (mut updates, end) = feed.rest(SOON);
    assert_eq!(end, Ok(()));
    updates.insert(0, first);
    for symbol in ["AAPL", "GOOGL"] {
        let updates = of(&updates, symbol);
        assert_eq!(updates.len(), 5);
        assert!(
            updates
                .windows(2)
                .all(|pair| super::follows(&pair[0], &pair[1]))
        );
    }
}

#[test]
fn a_python_client_that_is_killed_takes_its_thread_along() {
    let _machine = heavy();
    let server = Server::start(&["--ticker-interval", "50ms", "--ticker-updates", "0"]);
    let python = Python::ticker_client(&server.address(), "0", &["A", "B"]);
    for _ in 0..6 {
        python.line(SOON).unwrap();
    }
    wait_for_streams(&server, 1);
    python.signal(Signal::KILL);
    wait_for_streams(&server, 0);
}

#[test]
fn an_idle_python_client_that_is_killed_takes_its_thread_along() {
    let _machine = heavy();
    let server = Server::start(&["--ticker-interval", "60m", "--ticker-updates", "0"]);
    let python = Python::ticker_client(&server.address(), "1000", &["A", "B"]);
    for _ in 0..2 {
        python.line(SOON).unwrap();
    }
    wait_for_streams(&server, 1);
    python.signal(Signal::KILL);
    wait_for_streams(&server, 0);
}

#[test]
fn a_python_client_that_is_stopped_is_gone_with_its_thread() {
    let _machine = heavy();
    for interval in ["10ms", "60m"] {
        let flags = ["--ticker-interval", interval, "--ticker-updates", "0"];
        let pings = ["--keepalive", "1s", "--keepalive-timeout", "1s"];
        let server = Server::start(&[flags, pings].concat());
        let stopped = Python::ticker_client(&server.address(), "0", &["A", "B"]);
        let (mut requests, feed) = open(&client(&server.address()));
        requests.ask("A").unwrap();
        wait_for_streams(&server, 2);
        stopped.stop();
        wait_for_streams(&server, 1);
        requests.ask("B").unwrap();
        while feed.next().symbol != "B" {}
    }
}
