//! A standby is promoted: nothing is lost, or those who were sent what is lost are told.

use messenger::chat::client::ChatClient;

use super::outages::{a_while, nothing_is_lost};
use super::server;
use crate::cases::subscribe::Subscriber;
use crate::support::http::{request, seen};
use crate::support::programs::Program;
use crate::support::rpc::{client, send};
use crate::support::standby::Pair;
use crate::support::{SOON, eventually, heavy};

#[test]
fn a_synchronous_standby_that_is_promoted_has_all_and_nobody_is_told_of_a_gap() {
    let _machine = heavy();
    // As the compose file has it. The promoted one takes messages without waiting for itself.
    let mut pair = Pair::of_compose();
    let url = pair.create();
    let servers = [(); 3].map(|()| server(&url, &[]));
    let before = Subscriber::live(&servers[1].address()).place;
    let mut through = Subscriber::live(&servers[1].address());
    nothing_is_lost(&servers, || {
        a_while();
        pair.order("crash_a");
        a_while();
        pair.order("promote_b");
        a_while();
    });
    // A place of the epoch before, and one of a server that has seen neither.
    let last = send(&client(&servers[0].address()), "a", "last");
    let fresh = server(&url, &[]);
    for server in servers.iter().chain([&fresh]) {
        let mut back = Subscriber::open(&server.address(), Some(before.cursor()));
        assert!(!back.gap);
        assert_ne!(back.place.epoch, before.epoch, "another one has begun");
        while back.next().unwrap().nanos != last {}
    }
    // Who was there all the time was never told of the new epoch.
    while through.next().unwrap().nanos != last {}
    let next = send(&client(&servers[0].address()), "a", "next");
    for server in servers.iter().chain([&fresh]) {
        let address = server.address();
        let at = |nanos| Subscriber::open(&address, Some(through.place.at(nanos).cursor()));
        let mut back = at(last);
        assert_eq!((back.gap, back.place.nanos), (false, last));
        assert_eq!(back.next().unwrap(), seen("a", "next", next));
        // What was not sent is no place.
        assert!(at(last - 1).gap && at(next + 1).gap);
        let epoch = Some(&*before.epoch);
        let sent = client(&address).send_once(Some("key"), epoch, "a", "with a key", SOON);
        assert_eq!(at(next).next().unwrap().nanos, sent.unwrap().nanos());
    }
}

#[test]
fn who_was_sent_what_an_asynchronous_standby_lacks_is_told_of_a_gap() {
    let _machine = heavy();
    let mut pair = Pair::start();
    let url = pair.create();
    let servers = [(); 2].map(|()| server(&url, &[]));
    let addresses = servers.each_ref().map(Program::address);
    let sender = client(&addresses[0]);
    let mut subscriber = Subscriber::live(&addresses[1]);
    let kept = send(&sender, "a", "kept");
    assert_eq!(subscriber.next().unwrap(), seen("a", "kept", kept));
    let place = subscriber.place.clone();
    pair.wait_until_replicated();
    pair.order("stop_b");
    let lost = send(&sender, "a", "lost");
    assert_eq!(subscriber.next().unwrap(), seen("a", "lost", lost));
    pair.order("crash_a");
    pair.order("start_b");
    pair.order("promote_b");
    // Silence would be a lie.
    let end = subscriber.next().unwrap_err();
    let said = "what comes next does not follow what was sent: subscribe again";
    assert_eq!(end.message(), said);
    let mut next = None;
    eventually(SOON, "it takes messages again", || {
        next = sender.send("a", "next", SOON).ok();
        next.is_some()
    });
    let next = next.expect("a time").nanos();
    assert!(next > lost, "no time is used twice");
    for address in &addresses {
        let told = Subscriber::open(address, Some(subscriber.place.cursor()));
        assert!(told.gap);
        let mut whole = Subscriber::open(address, Some(place.cursor()));
        assert!(!whole.gap);
        assert_eq!(whole.next().unwrap(), seen("a", "next", next));
    }
}

#[test]
fn what_the_primary_alone_has_after_a_crash_is_not_answered_before_the_standby_has_it() {
    let mut pair = Pair::of_compose();
    let url = pair.create();
    let server = server(&url, &["--database-timeout", "1s", "--metrics-port", "0"]);
    let sender = client(&server.address());
    let once = |sender: &ChatClient| sender.send_once(Some("key"), None, "a", "b", SOON);
    pair.order("stop_b");
    once(&sender).unwrap_err();
    // It did not wait to the end, and is seen afterwards.
    pair.order("crash_a");
    pair.order("start_a");
    let ready = || request("GET", server.metrics_port(), "/readyz", &[], "").status;
    eventually(SOON, "the database is back", || ready() == 200);
    let unclear = once(&sender).unwrap_err();
    assert!(
        unclear.message.contains("may have been stored"),
        "{unclear}"
    );
    pair.order("start_b");
    let mut time = None;
    eventually(SOON, "the standby has it", || {
        time = once(&sender).ok();
        time.is_some()
    });
    pair.wait_until_replicated();
    pair.order("crash_a");
    pair.order("promote_b");
    eventually(SOON, "it is still there", || once(&sender).ok() == time);
}
