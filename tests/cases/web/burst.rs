//! What one page, or a server that hangs, may do to the other pages.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{both, call};
use crate::support::events::Events;
use crate::support::http::request;
use crate::support::process::Signal;
use crate::support::{SOON, eventually};

/// So many symbols that nobody has asked for before.
fn symbols(round: usize, count: usize) -> String {
    let all: Vec<_> = (0..count).map(|n| format!("R{round}-{n}")).collect();
    format!("symbols={}", all.join(","))
}

#[test]
fn pages_that_come_and_go_with_new_symbols_disconnect_nobody() {
    // What a page has asked for goes on at the server when the page has left.
    let (_server, console) = both(&["--ticker-interval", "100ms", "--ticker-updates", "0"]);
    let port = console.port();
    let bystander = Events::open(port, "symbols=STAYS");
    bystander.named("quote");
    for round in 0..6 {
        let page = Events::open(port, &symbols(round, 60));
        page.named("quote");
        drop(page);
        eventually(SOON, "the page has left", || {
            console.threads_named("http-conn") == 1
        });
    }
    let newest = Events::open(port, "symbols=NEWEST");
    newest.named("quote");
    // Until here the bystander heard quotes, and of no loss.
    let last = newest.named("quote").data["time"].as_i64().unwrap();
    loop {
        let event = bystander.next();
        assert!(event.name != "status", "{:?}", event.data);
        let of = event.name == "quote" && event.data["symbol"] == "STAYS";
        if of && event.data["time"].as_i64().unwrap() > last {
            break;
        }
    }
    assert!(!console.log().contains("WARN"), "{}", console.log());
    assert!(!console.log().contains("panicked"), "{}", console.log());
    console.wait_for_threads("web-ask", 1);
}

#[test]
fn a_server_that_hangs_keeps_no_asset_and_no_event_waiting() {
    let (server, console) = both(&[]);
    let port = console.port();
    server.stop();
    let calls: Vec<_> = (0..8)
        .map(|n| thread::spawn(move || call(port, "/api/tasks", &json!({"title": n.to_string()}))))
        .collect();
    eventually(SOON, "the calls are under way", || {
        console.threads_named("http-conn") >= calls.len()
    });
    let begun = Instant::now();
    assert_eq!(request("GET", port, "/", &[], "").status, 200);
    Events::open(port, "").named("hello");
    let took = begun.elapsed();
    assert!(calls.iter().all(|call| !call.is_finished()));
    assert!(took < Duration::from_secs(2), "{took:?}");
    server.signal(Signal::CONT);
    for call in calls {
        let answer = call.join().expect("an answer");
        assert!([200, 503, 504].contains(&answer.status), "{}", answer.body);
    }
}

#[test]
fn refused_symbols_cost_one_short_event_however_many_they_are() {
    let (_server, console) = both(&[]);
    let port = console.port();
    let bad = vec!["%01"; 3_000].join(",");
    let page = Events::open(port, &format!("symbols={bad}"));
    let refused = page.named("refused").data;
    assert_eq!(refused["count"], 3_000, "{refused}");
    assert!(refused.to_string().len() < 8_000, "{refused}");
    loop {
        match page.next().name.as_str() {
            "refused" => panic!("once is enough"),
            "tasks" => break,
            _ => {}
        }
    }
    // More than there are places is the same.
    let page = Events::open(port, &symbols(0, 2_000));
    let refused = page.named("refused").data;
    assert_eq!(refused["count"], 1_900, "{refused}");
    assert!(refused.to_string().len() < 8_000, "{refused}");
}
