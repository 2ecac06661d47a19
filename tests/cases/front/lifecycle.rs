//! From the reserved port to the last thread: binding, serving, shutting down.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use messenger::http::{Front, Limits, Request, Response, Serving};

use crate::support::programs::free_port;
use crate::support::{SOON, eventually, heavy};

use super::{GATED, GET, Peer, ask, echo, gate, gated, start};

/// Less than 4 s are promised; the rest is for the other tests on this machine.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// An address that stays nobody's after a front has given it back.
fn free() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

fn start_on(
    address: SocketAddr,
    handler: impl Fn(Request) -> Response + Send + 'static,
) -> Serving {
    let front = Front::bind(address).expect("a free port");
    front
        .serve(Limits::default(), vec![handler], "http-loop")
        .unwrap()
}

fn is_refused(address: SocketAddr) -> bool {
    let refused = TcpStream::connect(address).err();
    refused.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn the_port_is_reserved_but_refuses_until_the_front_serves() {
    let front = Front::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr();
    assert_ne!(address.port(), 0);
    assert!(is_refused(address));
    let front = front.serve(Limits::default(), vec![echo], "http-loop");
    let front = front.unwrap();
    assert_eq!(front.local_addr(), address);
    assert_eq!(ask(address, GET).status, 200);
}

#[test]
fn a_busy_port_is_an_error_and_a_port_given_back_is_free_at_once() {
    let address = free();
    let front = start_on(address, echo);
    let busy = Front::bind(address).err().expect("a busy port");
    assert_eq!(busy.kind(), ErrorKind::AddrInUse);
    // The front closes this one first, so its end waits for minutes in TIME_WAIT.
    let mut peer = Peer::connect(address);
    peer.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(peer.answer().status, 200);
    peer.wait_closed();
    drop(peer);
    front.shutdown();
    assert!(is_refused(address));
    let again = start_on(address, echo);
    assert_eq!(ask(again.local_addr(), GET).status, 200);
}

#[test]
fn without_a_lane_nothing_is_served() {
    let address = free();
    let front = Front::bind(address).unwrap();
    let none: Vec<fn(Request) -> Response> = Vec::new();
    let error = front.serve(Limits::default(), none, "http-loop").err();
    assert_eq!(error.unwrap().kind(), ErrorKind::InvalidInput);
    assert!(is_refused(address));
}

#[test]
fn ipv6_is_served_as_well() {
    let front = match Front::bind("[::1]:0") {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            return eprintln!("no IPv6 on this machine: {error}");
        }
        front => front.unwrap(),
    };
    let front = front.serve(Limits::default(), vec![echo], "http-loop");
    assert_eq!(ask(front.unwrap().local_addr(), GET).status, 200);
}

#[test]
fn a_shutdown_closes_the_idle_answers_the_busy_and_cuts_the_unfinished() {
    let _machine = heavy();
    let (gate, stop) = gate();
    let address = free();
    let front = start_on(address, gated(stop));
    let mut idle: Vec<_> = (0..100).map(|_| Peer::connect(address)).collect();
    for peer in &mut idle {
        peer.send(GET);
        assert_eq!(peer.answer().status, 200);
    }
    let mut unfinished = Peer::connect(address);
    unfinished.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    let mut busy = Peer::connect(address);
    busy.send(GATED);
    gate.wait_entered();

    let begun = Instant::now();
    let shutdown = thread::spawn(|| front.shutdown());
    for peer in &mut idle {
        peer.wait_closed();
    }
    assert!(is_refused(address));
    assert!(!shutdown.is_finished(), "two are in flight");
    gate.pass();
    let reply = busy.answer();
    assert_eq!((reply.status, reply.text()), (200, "GET /gate? "));
    busy.wait_closed();
    unfinished.wait_over();
    shutdown.join().unwrap();
    assert!(begun.elapsed() < SHUTDOWN, "{:?}", begun.elapsed());
}

#[test]
fn a_shutdown_does_not_wait_for_a_stuck_handler_nor_for_those_behind_it() {
    let _machine = heavy();
    let (gate, stop) = gate();
    let front = start(Limits::default(), gated(stop));
    let mut waiting: Vec<_> = (0..5)
        .map(|_| {
            let peer = Peer::connect(front.local_addr());
            peer.send(GATED);
            peer
        })
        .collect();
    gate.wait_entered();
    let begun = Instant::now();
    drop(front);
    assert!(begun.elapsed() < SHUTDOWN, "{:?}", begun.elapsed());
    for peer in &mut waiting {
        peer.wait_over();
    }
    assert!(gate.entered.is_empty(), "no other was handled");
}

#[test]
fn a_shutdown_when_idle_is_quick_every_time() {
    let _machine = heavy();
    for round in 0..50 {
        let front = start(Limits::default(), echo);
        let mut open = Peer::connect(front.local_addr());
        let mut used = Peer::connect(front.local_addr());
        used.send(GET);
        assert_eq!(used.answer().status, 200);
        let begun = Instant::now();
        front.shutdown();
        // A connection that misses its wake-up costs 2 s.
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1500), "{took:?} in {round}");
        open.wait_over();
        used.wait_closed();
    }
}

#[test]
fn a_shutdown_leaves_no_loop_behind() {
    let name = "http-left";
    let running = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| {
            let comm = task.ok()?.path().join("comm");
            std::fs::read_to_string(comm).ok()
        });
        names.filter(|found| found.starts_with(name)).count()
    };
    let front = Front::bind("127.0.0.1:0").unwrap();
    let lanes = vec![echo; 3];
    let front = front.serve(Limits::default(), lanes, name).unwrap();
    eventually(SOON, "every loop has its name", || running() == 3);
    assert_eq!(ask(front.local_addr(), GET).status, 200);
    front.shutdown();
    // A thread that was joined may be listed for a moment longer.
    eventually(SOON, "no loop is left", || running() == 0);
}
