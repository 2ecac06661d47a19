//! Stepping through the bridge at a terminal.

use std::{fs, thread};

use crate::support::http::{flush, post, send as post_message};
use crate::support::process::Signal;
use crate::support::programs::{Bridge, Server, messenger};
use crate::support::rpc::{client, send};
use crate::support::terminal::Terminal;
use crate::support::{SOON, eventually};

const KEYS: &str = "(Ctrl-C ends the bridge)";

/// What is shown until the loop waits for a key.
fn shown(terminal: &mut Terminal) -> String {
    terminal.wait_for(KEYS)
}

/// Presses a key, and returns what is shown at the next stop.
fn step(terminal: &mut Terminal, key: &str) -> String {
    terminal.press(key);
    shown(terminal)
}

fn has(shown: &str, lines: &[&str]) {
    for line in lines {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn each_key_lets_the_loop_go_on_to_the_next_step() {
    let server = Server::start(&[]);
    let (mut terminal, port) = Bridge::step(&server.address(), &[]);
    let first = thread::spawn(move || post_message(port, "anna", "a\u{1b}[2Jb"));
    let request = shown(&mut terminal);
    has(
        &request,
        &["request: POST /sendMessage", r#""author":"anna""#],
    );
    let empty = ["postbox: 0 messages of 0 bytes", "subscription: live"];
    has(&request, &empty);
    has(
        &request,
        &["last own message: none", "waiting in the front: 0"],
    );
    // Nothing is sent yet. Meanwhile the front and the subscription go on.
    let second = thread::spawn(move || flush(port));
    let other = client(&server.address());
    send(&other, "bert", "hi");
    let call = step(&mut terminal, "s");
    has(
        &call,
        &[
            "gRPC call: SendMessage",
            "    author: anna\r\n",
            "text: a\u{fffd}[2Jb",
        ],
    );
    let answer = step(&mut terminal, " ");
    has(&answer, &["answer: 200", r#"{"sendTime":""#]);
    // By now the second request waits: nobody takes it from the front.
    let request = step(&mut terminal, "n");
    let time = first.join().expect("an answer");
    has(&request, &["request: POST /getAndFlushMessages"]);
    has(&step(&mut terminal, "\n"), &["flush: takes all"]);
    let answer = step(&mut terminal, "s");
    has(
        &answer,
        &["answer: 200", r#""author":"bert""#, "postbox: 0 messages"],
    );
    // Another key tells which there are.
    has(&step(&mut terminal, "x"), &["[s] step"]);
    terminal.press("r");
    let flushed = second.join().expect("an answer");
    let seen: Vec<_> = flushed.iter().map(|it| &*it.author).collect();
    assert_eq!(seen, ["bert", "anna"]);
    assert_eq!(flushed[1].nanos, time);
    // It runs, until a key stops it again.
    post_message(port, "anna", "runs");
    assert_eq!(flush(port).len(), 1);
    terminal.press("n");
    let third = thread::spawn(move || post(port, "/sendMessage", "{").status);
    has(&shown(&mut terminal), &["request: POST /sendMessage"]);
    has(&step(&mut terminal, "s"), &["answer: 400"]);
    terminal.press("\u{3}");
    assert_eq!(terminal.wait_exit(SOON), 0);
    assert_eq!(third.join().expect("an answer"), 400);
    assert!(terminal.is_as_before());
}

#[test]
fn who_waits_in_the_front_is_shown_and_answered_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let server = Server::start(&[]);
    let flags = ["--trace", trace.to_str().unwrap()];
    let (mut terminal, port) = Bridge::step(&server.address(), &flags);
    let first = thread::spawn(move || flush(port));
    shown(&mut terminal);
    let second = thread::spawn(move || post(port, "/nowhere?token=hush", "").status);
    // Only the front has heard of it, which the trace shows.
    eventually(SOON, "a second whole request", || {
        let written = fs::read_to_string(&trace).unwrap();
        written.matches(r#""name":"receive""#).count() == 2
    });
    let waits = [
        "waiting in the front: 1",
        "    POST /nowhere, on http-conn-2\r\n",
    ];
    has(&step(&mut terminal, "s"), &waits);
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.wait_exit(SOON), 0);
    assert!(terminal.is_as_before());
    assert_eq!(first.join().expect("an answer"), []);
    assert_eq!(second.join().expect("an answer"), 404);
}

#[test]
fn a_second_signal_leaves_the_terminal_as_it_was_too() {
    let server = Server::start(&[]);
    let (mut terminal, _) = Bridge::step(&server.address(), &["--drain", "1h"]);
    assert!(!terminal.is_as_before());
    terminal.press("\u{3}");
    terminal.wait_for("draining");
    terminal.press("\u{3}");
    assert_eq!(terminal.wait_exit(SOON), 130);
    assert!(terminal.is_as_before());
}

#[test]
fn without_a_terminal_it_says_why_and_exits_with_2() {
    let mut bridge = messenger(&["client", "--step"]);
    assert_eq!(bridge.wait_exit(SOON), 2);
    let log = bridge.log();
    assert!(log.contains("--step needs a terminal"), "{log}");
    assert_eq!(bridge.line(SOON), None);
}
