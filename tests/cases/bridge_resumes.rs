//! The bridge, the console and `messenger tail` after their subscription was lost: where
//! they go on, and how they tell when messages may be missing.

use std::thread;

use crossbeam_channel::{TryRecvError, bounded};

use super::bridge_faults::torn_flush;
use crate::chaos::proxy::Proxy;
use crate::chaos::schedule::Weather;
use crate::support::events::Events;
use crate::support::http::{Answer, flush, messages, post, seen};
use crate::support::metrics::Scrape;
use crate::support::process::Process;
use crate::support::programs::{Bridge, Console, Program, Python, Server, free_port, tail};
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy, nanos};

const GAP: &str = "X-Messenger-Gap";
const RESUMED: &str = "live again; nothing was missed";
const MISSED: &str = "live again; messages sent in this window may have been missed";

fn asked(bridge: &Program) -> Answer {
    post(bridge.port(), "/getAndFlushMessages", "")
}

fn gaps(bridge: &Program) -> f64 {
    Scrape::of(bridge.metrics_port()).sum("messenger_bridge_gaps_total", &[])
}

/// The time in the only line about a window.
fn window(bridge: &Program) -> i64 {
    let log = bridge.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(MISSED)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("until="), "{log}");
    let from = lines[0].split("from=\"").nth(1);
    nanos(
        from.and_then(|rest| rest.split('"').next())
            .expect("a window"),
    )
}

#[test]
fn a_connection_that_is_cut_two_hundred_times_under_load_loses_nothing() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let link = Proxy::start(server.port());
    let bridge = Bridge::start(&link.address(), &["--metrics-port", "0"]);
    let (address, http) = (server.address(), bridge.port());
    let (loaded, over) = bounded::<()>(0);
    let goes_on = move || over.try_recv() == Err(TryRecvError::Empty);
    let goes_on_too = goes_on.clone();
    let load = thread::spawn(move || {
        let sender = client(&address);
        let numbers = (0..).map(|n: u64| n.to_string()).take_while(|_| goes_on());
        let sent = numbers.map(|text| seen("a", &text, send(&sender, "a", &text)));
        sent.collect::<Vec<_>>()
    });
    let flushes = thread::spawn(move || {
        let flushed = std::iter::from_fn(|| goes_on_too().then(|| flush(http)));
        flushed.flatten().collect::<Vec<_>>()
    });
    for round in 1..=200 {
        link.set(Weather::Reset);
        eventually(SOON, "the subscription is live again", || {
            bridge.log().matches(RESUMED).count() == round
        });
    }
    drop(loaded);
    let (sent, mut got) = (load.join().unwrap(), flushes.join().unwrap());
    eventually(SOON, "the last message", || {
        let answer = asked(&bridge);
        assert_eq!(answer.header(GAP), None);
        got.extend(messages(&answer.json()));
        got.last() == sent.last()
    });
    println!("{} messages", sent.len());
    assert!(sent.len() > 200 && got == sent, "each once, in order");
    assert_eq!(gaps(&bridge), 0.0);
    assert!(!bridge.log().contains(MISSED), "{}", bridge.log());
}

#[test]
fn a_restarted_server_is_told_once_in_header_log_and_metric() {
    let port = free_port();
    let server = Server::start_on(port, &[]);
    let bridge = Bridge::start(&server.address(), &["--metrics-port", "0"]);
    let came = send(&client(&server.address()), "a", "came");
    eventually(SOON, "the message", || {
        let answer = asked(&bridge);
        assert_eq!(answer.header(GAP), None);
        !messages(&answer.json()).is_empty()
    });
    drop(server);
    let _server = Server::start_on(port, &[]);
    bridge.wait_for_log(SOON, MISSED);
    assert_eq!(asked(&bridge).header(GAP), Some("true"));
    assert_eq!(asked(&bridge).header(GAP), None);
    assert_eq!((gaps(&bridge), window(&bridge)), (1.0, came));
}

#[test]
fn what_the_server_does_not_keep_is_a_gap() {
    let server = Server::start(&["--replay-messages", "0"]);
    let link = Proxy::start(server.port());
    let bridge = Bridge::start(&link.address(), &["--metrics-port", "0"]);
    let sender = client(&server.address());
    let came = send(&sender, "a", "came");
    eventually(SOON, "the message", || !flush(bridge.port()).is_empty());
    // On its way when the connection breaks: accepted, but it never comes.
    link.set(Weather::OneWay { to_server: false });
    send(&sender, "a", "missed");
    link.set(Weather::Reset);
    bridge.wait_for_log(SOON, MISSED);
    let answer = asked(&bridge);
    assert_eq!((answer.header(GAP), &*answer.body), (Some("true"), "[]"));
    assert_eq!((gaps(&bridge), window(&bridge)), (1.0, came));
}

#[test]
fn behind_a_python_server_every_reconnect_may_have_missed_something() {
    let _machine = heavy();
    let server = Python::server();
    let link = Proxy::start(server.port());
    let bridge = Bridge::start(&link.address(), &["--metrics-port", "0"]);
    assert_eq!(asked(&bridge).header(GAP), None);
    link.set(Weather::Reset);
    bridge.wait_for_log(SOON, MISSED);
    assert_eq!(asked(&bridge).header(GAP), Some("true"));
    assert_eq!((asked(&bridge).header(GAP), gaps(&bridge)), (None, 1.0));
}

#[test]
fn a_gap_in_a_flush_that_nobody_takes_is_told_again() {
    let _machine = heavy();
    let server = Server::start(&["--replay-messages", "0"]);
    let link = Proxy::start(server.port());
    let bridge = Bridge::start(&link.address(), &["--postbox-bytes", "1000000000"]);
    let sender = client(&server.address());
    link.set(Weather::OneWay { to_server: false });
    send(&sender, "a", "missed");
    link.set(Weather::Reset);
    bridge.wait_for_log(SOON, MISSED);
    let text = "x".repeat(256 * 1024);
    let mut sent: Vec<_> = (0..40)
        .map(|_| seen("a", &text, send(&sender, "a", &text)))
        .collect();
    // Sent through the bridge: the flush waits for it, and so for all.
    let last = crate::support::http::send(bridge.port(), "a", "last");
    sent.push(seen("a", "last", last));
    assert!(torn_flush(bridge.port()).is_none(), "a large answer");
    bridge.wait_for_log(SOON, "its messages are back");
    let answer = asked(&bridge);
    assert_eq!(answer.header(GAP), Some("true"));
    assert!(
        messages(&answer.json()) == sent,
        "each message once, in order"
    );
    assert_eq!(asked(&bridge).header(GAP), None);
}

/// The next message on a terminal.
fn shown(tail: &Process) -> i64 {
    let line: serde_json::Value = serde_json::from_str(&tail.line(SOON).unwrap()).unwrap();
    nanos(line["sendTime"].as_str().unwrap())
}

#[test]
fn tail_goes_on_behind_its_last_message_and_says_when_it_cannot() {
    let port = free_port();
    let server = Server::start_on(port, &[]);
    let link = Proxy::start(port);
    let mut tail = tail(&link.address(), &[]);
    let sender = client(&server.address());
    let first = send(&sender, "a", "first");
    assert_eq!(shown(&tail), first);
    for round in 1..=10 {
        link.set(Weather::OneWay { to_server: false });
        let times = [(); 3].map(|()| send(&sender, "a", "on its way"));
        link.set(Weather::Reset);
        assert_eq!(times.map(|_| shown(&tail)), times);
        let resumed = tail.log().matches("again; nothing was missed").count();
        assert_eq!(resumed, round, "{}", tail.log());
    }
    drop(server);
    let server = Server::start_on(port, &[]);
    tail.wait_for_log(SOON, "again; messages may have been missed");
    let time = send(&client(&server.address()), "a", "after the restart");
    assert_eq!(shown(&tail), time);
    tail.signal(crate::support::process::Signal::INT);
    assert_eq!(tail.wait_exit(SOON), 0);
}

#[test]
fn tail_ends_while_it_tries_again_when_it_is_told_to_or_when_time_is_up() {
    let server = Server::start(&[]);
    let mut told = tail(&server.address(), &[]);
    let mut timed = tail(&server.address(), &["--reconnect", "500ms"]);
    drop(server);
    told.wait_for_log(SOON, "trying again");
    told.signal(crate::support::process::Signal::TERM);
    assert_eq!(told.wait_exit(SOON), 0);
    assert_eq!(timed.wait_exit(SOON), 1);
    assert!(timed.log().contains("trying again"), "{}", timed.log());
}

#[test]
fn a_console_that_goes_on_tells_its_pages_of_no_gap() {
    let server = Server::start(&[]);
    let link = Proxy::start(server.port());
    let console = Console::start(&link.address(), &[]);
    let page = Events::open(console.port(), "");
    page.named("hello");
    let sender = client(&server.address());
    for round in 0..5 {
        link.set(Weather::OneWay { to_server: false });
        send(&sender, "a", &format!("on its way {round}"));
        link.set(Weather::Reset);
        loop {
            let event = page.next();
            assert_ne!(event.name, "gap");
            if event.name == "chat" {
                assert_eq!(event.data["text"], format!("on its way {round}"));
                break;
            }
        }
    }
}
