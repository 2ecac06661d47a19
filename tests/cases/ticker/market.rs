//! The one market: the same for everybody, repeatable, and with figures that
//! agree with each other.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::SystemTime;

use futures_util::{SinkExt as _, StreamExt as _};
use grpcio::{CallOption, WriteFlags};
use messenger::grpc::blocking;
use messenger::ticker::market::{Market, Quote, Symbol};
use messenger::ticker::wire;
use messenger::ticker::wire::StockUpdate;

use super::{client, open};
use crate::support::programs::Server;
use crate::support::rpc::raw;
use crate::support::{SOON, heavy};

/// Price, change and volume: no two of the first steps have them in common.
pub type Key = (i64, i64, i32);

/// The first steps of a symbol in a market.
pub fn steps(seed: u64, symbol: &str) -> HashMap<Key, u64> {
    let (market, symbol) = (Market::new(seed), Symbol::parse(symbol).unwrap());
    let steps = (0..10_000).map(|step| (key(market.quote(&symbol, step)), step));
    steps.collect()
}

pub fn key(quote: Quote) -> Key {
    (quote.price.0, quote.change.0, quote.volume)
}

#[test]
fn two_hundred_streams_are_told_the_same_of_the_same_step() {
    let _machine = heavy();
    let flags = ["--ticker-interval", "100ms", "--ticker-updates", "0"];
    let server = Server::start(&[&flags[..], &["--ticker-seed", "7"]].concat());
    let symbols = ["AAPL", "MSFT", "X"];
    let clients: Vec<_> = (0..10).map(|_| client(&server.address())).collect();
    let streams: Vec<_> = clients
        .iter()
        .flat_map(|ticker| (0..20).map(|_| open(ticker)))
        .map(|(mut requests, feed)| {
            for symbol in symbols {
                requests.ask(symbol).unwrap();
            }
            (requests, feed)
        })
        .collect();
    let steps: BTreeMap<_, _> = symbols.map(|s| (s, steps(7, s))).into();
    let mut times = BTreeMap::new();
    for (_, feed) in &streams {
        let mut last = BTreeMap::new();
        for _ in 0..30 {
            let update = feed.next();
            let step = steps[&*update.symbol].get(&key(update.quote));
            let step = *step.unwrap_or_else(|| panic!("{update:?} is of no step"));
            assert!(
                last.insert(update.symbol, step) < Some(step),
                "a step again"
            );
            assert_eq!(*times.entry(step).or_insert(update.time), update.time);
        }
        assert_eq!(last.len(), symbols.len(), "no symbol is left behind");
    }
    super::wait_for_streams(&server, 200);
}

/// The first updates of a symbol at a market of its own.
fn first(seed: Option<&str>) -> Vec<Key> {
    let mut flags = vec!["--ticker-interval", "40ms", "--ticker-updates", "0"];
    flags.extend(seed.iter().flat_map(|seed| ["--ticker-seed", seed]));
    let server = Server::start(&flags);
    let (mut requests, feed) = open(&client(&server.address()));
    requests.ask("AAPL").unwrap();
    (0..60).map(|_| key(feed.next().quote)).collect()
}

/// The updates of the first that the second has too.
fn common(first: &[Key], second: &[Key]) -> Vec<Key> {
    let both = first.iter().filter(|update| second.contains(update));
    both.copied().collect()
}

#[test]
fn the_same_seed_gives_the_same_prices_and_another_one_others() {
    let _machine = heavy();
    let [one, two, other, any] = thread::scope(|scope| {
        let seeds = [Some("42"), Some("42"), Some("43"), None];
        seeds
            .map(|seed| scope.spawn(move || first(seed)))
            .map(|market| market.join().unwrap())
    });
    // They began to listen at different steps, and may have missed some.
    assert!(common(&one, &two).len() > 10, "{one:?} and {two:?}");
    assert_eq!(common(&one, &two), common(&two, &one));
    for stranger in [other, any] {
        assert_eq!(common(&stranger, &one), []);
    }
}

/// A whole number of cents; panics if the value is not the nearest double to one.
fn cents(value: f64) -> i64 {
    let cents = (value * 100.0).round();
    assert_eq!(cents / 100.0, value, "more than two digits");
    cents as i64
}

/// `change` in percent of `before`, rounded half away from zero to two digits.
fn percent(change: i64, before: i64) -> i64 {
    let whole = (20_000 * change.abs() + before) / (before * 2);
    whole * change.signum()
}

#[test]
fn the_figures_of_ten_thousand_updates_agree_with_each_other() {
    let _machine = heavy();
    let server = Server::start(&["--ticker-interval", "20ms", "--ticker-updates", "0"]);
    let client = raw(&server.address());
    let method = &wire::SUBSCRIBE_TO_STOCK_UPDATES;
    let (mut requests, mut updates) = client
        .duplex_streaming(method, CallOption::default())
        .unwrap();
    blocking::wait(
        async {
            for number in 0..100 {
                let request = wire::request(&format!("S{number}"));
                requests
                    .send((request, WriteFlags::default()))
                    .await
                    .unwrap();
            }
        },
        Some(SOON),
    )
    .expect("a server that reads");
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let mut last: HashMap<String, StockUpdate> = HashMap::new();
    let mut chained = 0;
    for _ in 0..10_000 {
        let update = blocking::wait(updates.next(), Some(SOON));
        let update = update.expect("in time").expect("no end").unwrap();
        let price = cents(update.current_price);
        let change = cents(update.price_change);
        let before = price - change;
        assert!(price > 0 && before > 0, "{update}");
        // Of a start in 100 to 500, this soon after.
        assert!((5_000..100_000).contains(&price), "{update}");
        assert_eq!(
            cents(update.change_percent),
            percent(change, before),
            "{update}"
        );
        assert!((1_000..=100_000).contains(&update.volume), "{update}");
        assert!((now - 2..now + 60).contains(&update.timestamp), "{update}");
        let symbol = update.ticker_symbol.clone();
        if let Some(last) = last.insert(symbol, update) {
            chained += usize::from(cents(last.current_price) == before);
        }
    }
    assert_eq!(last.len(), 100);
    assert!(
        chained > 4_000,
        "{chained} updates follow on the one before"
    );
}
