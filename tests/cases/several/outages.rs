//! Servers killed and paused, the database crashed, away or silent.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use messenger::error::Code;

use super::{server, three};
use crate::cases::subscribe::Subscriber;
use crate::chaos::proxy::Proxy;
use crate::chaos::schedule::Weather;
use crate::support::http::{Seen, request, seen};
use crate::support::postgres::{Database, cluster};
use crate::support::process::Signal;
use crate::support::programs::Program;
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy};

/// Sends with keys, each until it is answered, at one server after the other, until `over`.
pub fn send_on(author: &str, addresses: &[String], over: &AtomicBool) -> Vec<Seen> {
    send_each(Duration::ZERO, author, addresses, over)
}

/// The same, one message in so long a time.
pub fn send_each(
    pace: Duration,
    author: &str,
    addresses: &[String],
    over: &AtomicBool,
) -> Vec<Seen> {
    let mut due = Instant::now();
    let clients: Vec<_> = addresses.iter().map(|it| client(it)).collect();
    let mut sent = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let text = sent.len().to_string();
        let key = format!("{author}-{text}");
        let began = Instant::now();
        let mut tries = (sent.len()..).map(|at| {
            let client = &clients[at % clients.len()];
            client.send_once(Some(&key), None, author, &text, Duration::from_secs(1))
        });
        let time = tries.find_map(|answer| {
            assert!(began.elapsed() < SOON, "no answer: {answer:?}");
            answer.ok()
        });
        sent.push(seen(author, &text, time.expect("an answer").nanos()));
        due += pace;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}

/// What was sent to the other servers while `trouble` ran is what a reader at the first one
/// sees, each once and in order.
pub fn nothing_is_lost(servers: &[Program], trouble: impl FnOnce()) {
    let addresses: Vec<_> = servers.iter().map(Program::address).collect();
    let (addresses, over) = (&addresses, &AtomicBool::new(false));
    let mut subscriber = Subscriber::live(&addresses[0]);
    let mut sent: Vec<Seen> = thread::scope(|scope| {
        let senders = ["a", "b", "c", "d"]
            .map(|author| scope.spawn(move || send_on(author, addresses, over)));
        trouble();
        over.store(true, Ordering::Relaxed);
        let sent = senders.into_iter().map(|it| it.join().expect("a sender"));
        sent.flatten().collect()
    });
    sent.sort_by_key(|message| message.nanos);
    println!("{} messages", sent.len());
    assert!(subscriber.take(sent.len()) == sent, "another order");
    let last = send(&client(&addresses[0]), "end", "");
    assert_eq!(subscriber.next().unwrap(), seen("end", "", last));
}

/// Lets the senders work meanwhile.
pub fn a_while() {
    thread::sleep(Duration::from_millis(400));
}

#[test]
fn a_killed_server_takes_nothing_with_it_that_was_answered() {
    let _machine = heavy();
    let (_database, servers) = three(&[]);
    nothing_is_lost(&servers, || {
        a_while();
        servers[1].signal(Signal::KILL);
        a_while();
    });
}

#[test]
fn a_paused_server_holds_up_nobody_and_goes_on_in_order() {
    let _machine = heavy();
    let (_database, servers) = three(&[]);
    let mut paused = Subscriber::live(&servers[1].address());
    let first = paused.place.clone();
    nothing_is_lost(&servers, || {
        for _ in 0..3 {
            a_while();
            servers[1].stop();
            // The others append and deliver meanwhile.
            Subscriber::live(&servers[2].address()).take(5);
            servers[1].signal(Signal::CONT);
        }
    });
    let mut all = Subscriber::resume(&servers[0].address(), &first);
    let last = send(&client(&servers[0].address()), "end", "");
    loop {
        let message = all.next().unwrap();
        assert_eq!(paused.next().unwrap(), message);
        if message.nanos == last {
            break;
        }
    }
}

#[test]
fn a_database_that_crashes_loses_nothing_and_no_stream_ends() {
    let _machine = heavy();
    let mut cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let servers = [(); 3].map(|()| server(&url, &[]));
    nothing_is_lost(&servers, || {
        a_while();
        cluster.order("crash").unwrap();
        cluster.order("start").unwrap();
        a_while();
    });
}

#[test]
fn without_its_database_sends_are_refused_in_time_and_streams_stay_open() {
    let mut cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let server = server(&url, &["--database-timeout", "1s", "--metrics-port", "0"]);
    let ready = || request("GET", server.metrics_port(), "/readyz", &[], "").status;
    let mut subscriber = Subscriber::live(&server.address());
    let sender = client(&server.address());
    assert_eq!(ready(), 200);
    cluster.order("stop").unwrap();
    eventually(SOON, "it is not ready", || ready() == 503);
    let began = Instant::now();
    let error = sender.send("a", "lost", SOON).unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("was not stored"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3));
    let (_client, mut refused) = Subscriber::raw(&server.address());
    let status = refused.wait().unwrap_err();
    assert_eq!(status.message(), "the database cannot be reached");
    cluster.order("start").unwrap();
    eventually(SOON, "it is back", || ready() == 200);
    let time = send(&sender, "a", "back");
    assert_eq!(subscriber.next().unwrap(), seen("a", "back", time));
}

#[test]
fn a_silent_database_is_in_doubt_and_a_key_tells() {
    let database = Database::new();
    let url = url::Url::parse(&database.url).unwrap();
    let proxy = Proxy::start(url.port().unwrap());
    let mut through = url.clone();
    through.set_port(Some(proxy.port())).unwrap();
    let near = server(&database.url, &[]);
    let far = server(through.as_str(), &["--database-timeout", "1s"]);
    let mut subscriber = Subscriber::live(&far.address());
    let sender = client(&far.address());
    // The database hears, and is not heard.
    proxy.set(Weather::OneWay { to_server: false });
    let once = |client: &messenger::chat::client::ChatClient| {
        client.send_once(Some("key"), None, "a", "b", SOON)
    };
    let error = once(&sender).unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("may have been stored"), "{error}");
    let known = once(&client(&near.address())).unwrap();
    proxy.set(Weather::Reset);
    eventually(SOON, "the far one is back", || once(&sender) == Ok(known));
    assert_eq!(subscriber.next().unwrap(), seen("a", "b", known.nanos()));
    let last = send(&sender, "a", "last");
    assert_eq!(subscriber.next().unwrap(), seen("a", "last", last));
}

/// A port of a machine that is gone: nothing answers who wants to connect. It lasts as long
/// as what is returned beside it.
fn gone() -> (u16, (TcpListener, Vec<TcpStream>)) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let wait = Duration::from_millis(200);
    // The kernel drops what comes when nobody accepts these.
    let connect = || TcpStream::connect_timeout(&address, wait).ok();
    let waiting = std::iter::from_fn(connect).collect();
    (address.port(), (listener, waiting))
}

#[test]
fn a_machine_that_is_gone_does_not_keep_servers_from_the_next_one() {
    let database = Database::new();
    let (port, _gone) = gone();
    let hosts = format!("@127.0.0.1:{port},");
    let url = database.url.replacen('@', &hosts, 1);
    let server = server(&url, &["--database-timeout", "2s"]);
    let mut subscriber = Subscriber::live(&server.address());
    let time = send(&client(&server.address()), "a", "b");
    assert_eq!(subscriber.next().unwrap(), seen("a", "b", time));
}
