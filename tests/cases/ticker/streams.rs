//! Streams whose peers leave, do not read or send rubbish, and the end of the
//! server: no thread stays behind, and everybody is told.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use grpcio::{
    CallOption, Client, ClientDuplexReceiver, ClientDuplexSender, GrpcSlice, Marshaller, Method,
    MethodType, WriteFlags,
};
use messenger::error::{Code, Error};
use messenger::grpc::blocking;
use messenger::status;
use messenger::ticker::wire;
use messenger::ticker::wire::{StockUpdate, TickerRequest, Update};

use super::market::{key, steps};
use super::{client, half_close, open, wait_for_streams};
use crate::support::process::Signal;
use crate::support::programs::{Program, Server};
use crate::support::rpc::{connection, narrow, raw};
use crate::support::{SOON, eventually, heavy};

/// Fast and without end: windows fill up in no time.
const FLOOD: [&str; 4] = ["--ticker-interval", "10ms", "--ticker-updates", "0"];

/// A stream that nobody reads, so far that the server cannot send any more.
struct Stuck {
    requests: ClientDuplexSender<TickerRequest>,
    updates: ClientDuplexReceiver<StockUpdate>,
    _client: Client,
}

impl Stuck {
    fn open(server: &Program) -> Self {
        let client = narrow(&server.address());
        let method = &wire::SUBSCRIBE_TO_STOCK_UPDATES;
        let stream = client.duplex_streaming(method, CallOption::default());
        let (requests, updates) = stream.unwrap();
        let mut stuck = Self {
            requests,
            updates,
            _client: client,
        };
        let (mut others, witness) = open(&super::client(&server.address()));
        for number in 0..100 {
            let symbol = format!("S{number}");
            stuck.ask(&symbol);
            others.ask(&symbol).unwrap();
        }
        // More than ten times the 64 KiB that it takes.
        for _ in 0..15_000 {
            witness.next();
        }
        stuck
    }

    fn ask(&mut self, symbol: &str) {
        let request = (wire::request(symbol), WriteFlags::default());
        let sent = blocking::wait(self.requests.send(request), Some(SOON));
        sent.expect("a server that reads").unwrap();
    }

    fn next(&mut self) -> Result<Update, Error> {
        let next = blocking::wait(self.updates.next(), Some(SOON));
        match next.expect("an update or the end in time").expect("an end") {
            Ok(update) => Ok(wire::update(update)),
            Err(grpcio::Error::RpcFailure(end)) => Err(status::from_grpc(&end)),
            Err(other) => panic!("{other}"),
        }
    }

    /// Reads what is there, and how it ends.
    fn end(&mut self) -> Error {
        (0..).find_map(|_| self.next().err()).unwrap()
    }
}

#[test]
fn a_reader_that_stops_gets_the_newest_quotes_and_nobody_else_notices() {
    let _machine = heavy();
    let seed = ["--ticker-seed", "7"];
    let server = Server::start(&[&FLOOD[..], &seed].concat());
    let mut stuck = Stuck::open(&server);
    let (mut requests, witness) = open(&client(&server.address()));
    requests.ask("S7").unwrap();
    let steps = steps(7, "S7");
    let step = |update: Update| steps[&key(update.quote)];
    let now = step(witness.next());
    let mut told = Vec::new();
    while told.last().is_none_or(|step| *step < now + 20) {
        let update = stuck.next().unwrap();
        if update.symbol == "S7" {
            told.push(step(update));
        }
    }
    assert!(
        told.is_sorted_by(|a, b| a < b),
        "no step comes twice: {told:?}"
    );
    let gap = told
        .windows(2)
        .max_by_key(|pair| pair[1] - pair[0])
        .unwrap();
    assert!(gap[1] - gap[0] > 50, "nothing is kept for it: {told:?}");
    // What comes behind the gap is of the moment in which it reads again.
    assert!(gap[1] >= now, "{now}: {told:?}");
    wait_for_streams(&server, 2);
}

#[test]
fn streams_that_are_cancelled_at_any_moment_leave_no_thread() {
    let server = Server::start(&["--ticker-interval", "10ms", "--ticker-updates", "0"]);
    let ticker = client(&server.address());
    for round in 0..200 {
        let (mut requests, feed) = open(&ticker);
        for symbol in 0..round % 3 {
            requests.ask(&format!("S{symbol}")).unwrap();
        }
        if round % 2 == 0 {
            half_close(&mut requests);
        }
        if round % 3 > 0 && round % 5 == 0 {
            feed.next();
        }
        if round % 7 == 0 {
            drop(requests);
        }
    }
    wait_for_streams(&server, 0);
}

/// The ticker's method for a client that sends whatever it likes.
const RUBBISH: Method<Vec<u8>, StockUpdate> = Method {
    ty: MethodType::Duplex,
    name: wire::SUBSCRIBE_TO_STOCK_UPDATES.name,
    req_mar: Marshaller {
        ser: |bytes, slot| {
            *slot = GrpcSlice::from(bytes.clone());
            Ok(())
        },
        de: |_| unreachable!("a client receives no requests"),
    },
    resp_mar: wire::SUBSCRIBE_TO_STOCK_UPDATES.resp_mar,
};

#[test]
fn rubbish_and_what_is_too_long_end_their_stream_only() {
    let server = Server::start(&["--ticker-interval", "60m", "--ticker-updates", "0"]);
    let client = raw(&server.address());
    for rubbish in [vec![0xff; 10], vec![b'x'; 600 * 1024]] {
        let stream = client.duplex_streaming(&RUBBISH, CallOption::default());
        let (mut requests, mut updates) = stream.unwrap();
        let sent = requests.send((rubbish, WriteFlags::default()));
        // The end may overtake the word that the request is out.
        let _ = blocking::wait(sent, Some(SOON)).expect("a server that reads");
        let end = blocking::wait(updates.next(), Some(SOON)).expect("an end");
        assert!(matches!(end, Some(Err(_))), "{end:?}");
    }
    wait_for_streams(&server, 0);
    let (mut requests, feed) = open(&super::client(&server.address()));
    requests.ask("A").unwrap();
    assert_eq!(feed.next().symbol, "A");
}

#[test]
fn the_end_of_the_server_ends_every_stream() {
    for _ in 0..5 {
        let mut server = Server::start(&["--ticker-interval", "20ms", "--ticker-updates", "0"]);
        let ticker = client(&server.address());
        let mut streams: Vec<_> = (0..10).map(|_| open(&ticker)).collect();
        for (n, (requests, feed)) in streams.iter_mut().enumerate() {
            // Some ask for nothing, some have half-closed.
            if n % 3 > 0 {
                requests.ask("A").unwrap();
                feed.next();
            }
            if n % 3 > 1 {
                requests.close().unwrap();
            }
        }
        wait_for_streams(&server, 10);
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
        for (_, feed) in &streams {
            assert_eq!(feed.rest(SOON).1, Err(Error::shutting_down()));
        }
    }
}

#[test]
fn a_reader_that_does_not_read_does_not_hold_up_the_end() {
    let _machine = heavy();
    let mut server = Server::start(&FLOOD);
    let _stuck = Stuck::open(&server);
    let (mut requests, feed) = open(&client(&server.address()));
    requests.ask("A").unwrap();
    feed.next();
    server.signal(Signal::TERM);
    assert_eq!(feed.rest(SOON).1, Err(Error::shutting_down()));
    assert_eq!(server.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn a_reader_that_reads_late_is_still_told_why_its_stream_ended() {
    let _machine = heavy();
    let server = Server::start(&FLOOD);
    let mut stuck = Stuck::open(&server);
    stuck.ask("no symbol");
    let end = stuck.end();
    assert_eq!(end.code, Code::InvalidArgument, "{end}");
    wait_for_streams(&server, 0);
}

#[test]
fn a_reader_that_does_not_take_its_status_is_cancelled_after_ten_seconds() {
    let server = Server::start(&FLOOD);
    let mut stuck = {
        let _machine = heavy();
        Stuck::open(&server)
    };
    wait_for_streams(&server, 1);
    stuck.ask("no symbol");
    let asked = Instant::now();
    eventually(Duration::from_secs(20), "its thread is gone", || {
        server.threads_named("ticker-") == 1
    });
    assert!(asked.elapsed() > Duration::from_secs(8), "it had time");
    // So is the call: nothing is kept for it.
    let end = stuck.end();
    assert_eq!(end.code, Code::Cancelled, "{end}");
    assert_eq!(
        connection(&server.address()).check_health("StockTicker", SOON),
        Ok(())
    );
}
