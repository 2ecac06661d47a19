//! The commands as somebody at a terminal meets them.

use std::time::Duration;

use serde_json::Value;

use crate::support::events::Events;
use crate::support::history;
use crate::support::http::{flush, seen, send as post_message};
use crate::support::process::{Process, Signal, command};
use crate::support::programs::{Server, messenger, tail};
use crate::support::rpc::{Reader, client, send};
use crate::support::{SOON, eventually, nanos};

/// Exit code and standard output.
pub fn help(arguments: &[String]) -> (i32, String) {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut process = messenger(&arguments);
    let mut text = String::new();
    while let Some(line) = process.line(SOON) {
        text += &line;
        text.push('\n');
    }
    (process.wait_exit(SOON), text)
}

/// Walks all commands below this one; returns how many there are.
fn walk(command: &[String]) -> usize {
    let name = command.join(" ");
    let (code, text) = help(&[command, &["--help".to_owned()]].concat());
    assert_eq!(code, 0, "messenger {name} --help");
    let (code, again) = help(&[&["help".to_owned()], command].concat());
    assert_eq!((code, &again), (0, &text), "messenger help {name}");
    // Each flag with what is said of it, in one line.
    let mut flags: Vec<String> = Vec::new();
    for line in text.lines() {
        let words = line.trim_start();
        if words.starts_with('-') && line.starts_with(' ') {
            flags.push(words.to_owned());
        } else if !line.is_empty() && !line.starts_with(' ') {
            flags.push(String::new());
        } else if let Some(flag) = flags.last_mut() {
            *flag += &format!(" {words}");
        }
    }
    for flag in flags.iter().filter(|flag| flag.starts_with('-')) {
        let standard = ["-h, --help", "-V, --version"]
            .iter()
            .any(|name| flag.starts_with(name));
        // Names that other programs share.
        let shared = ["AMQP_URL", "DATABASE_URL", "GRPC_TARGET"];
        let shared = shared
            .iter()
            .any(|name| flag.contains(&format!("[env: {name}")));
        // What a container's check asks is moved by no variable.
        let probe = name == "healthcheck"
            && (flag.starts_with("--server") || flag.starts_with("--http [<"));
        // All that stands behind it is a command.
        let once = name == "demo" && flag.starts_with("--once <");
        assert!(
            standard || shared || probe || once || flag.contains("[env: MESSENGER_"),
            "messenger {name}: {flag}"
        );
    }
    let Some((_, commands)) = text.split_once("\nCommands:\n") else {
        assert!(
            text.contains("\nExamples:\n"),
            "messenger {name} has no examples"
        );
        return 1;
    };
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| {
        line.strip_prefix("  ")?
            .split_whitespace()
            .next()
            .filter(|_| !line.starts_with("   "))
    });
    names
        .filter(|name| *name != "help")
        .map(|name| walk(&[command, &[name.to_owned()]].concat()))
        .sum()
}

#[test]
fn every_command_has_help_with_examples_and_every_flag_a_variable() {
    assert!(walk(&[]) >= 7, "all commands were found");
}

#[test]
fn send_prints_the_time_and_tail_prints_the_message() {
    let server = Server::start(&[]);
    let address = server.address();
    let json = tail(&address, &[]);
    let mut plain = messenger(&["tail", "--server", &address, "--count", "2"]);
    plain.wait_for_log(SOON, "subscribed to");
    let mut sender = messenger(&["send", "--server", &address, "анна", "a\u{1b}[2J\nb"]);
    let time = sender.line(SOON).unwrap();
    assert_eq!(sender.wait_exit(SOON), 0);
    let line: Value = serde_json::from_str(&json.line(SOON).unwrap()).unwrap();
    let expected = serde_json::json!({"author": "анна", "text": "a\u{1b}[2J\nb", "sendTime": time});
    assert_eq!(line, expected);
    // What people write cannot move the cursor of a terminal.
    let expected = format!("{time}  анна: a\u{fffd}[2J\u{fffd}b");
    assert_eq!(plain.line(SOON), Some(expected));
    let mut sender = messenger(&["send", "--server", &address, "--json", "b", "c"]);
    let answer: Value = serde_json::from_str(&sender.line(SOON).unwrap()).unwrap();
    nanos(answer["sendTime"].as_str().unwrap());
    assert_eq!(sender.wait_exit(SOON), 0);
    assert!(plain.line(SOON).is_some());
    assert_eq!(plain.wait_exit(SOON), 0, "two messages are enough");
}

#[test]
fn a_refusal_is_one_line_and_exit_code_one() {
    let server = Server::start(&[]);
    let long = "a".repeat(257);
    let mut sender = messenger(&["send", "--server", &server.address(), &long, "t"]);
    assert_eq!(sender.wait_exit(SOON), 1);
    let log = sender.log();
    assert!(
        log.lines().count() == 1 && log.contains("author: 257 bytes"),
        "{log}"
    );
    assert_eq!(sender.line(SOON), None);
}

#[test]
fn tail_ends_with_zero_on_a_signal_and_with_one_when_the_server_goes() {
    let server = Server::start(&[]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut reader = tail(&server.address(), &[]);
        reader.signal(signal);
        assert_eq!(reader.wait_exit(SOON), 0, "{}", reader.log());
    }
    let mut reader = tail(&server.address(), &["--reconnect", "0"]);
    drop(server);
    assert_eq!(reader.wait_exit(SOON), 1);
}

#[test]
fn the_demo_is_a_server_a_bridge_and_a_console_that_end_cleanly() {
    let flags = [
        "--port",
        "--also-port",
        "--http-port",
        "--web-port",
        "--history-port",
    ];
    let ports = flags.map(|flag| [flag, "0"]).concat();
    let mut demo = messenger(&[&["demo"], ports.as_slice()].concat());
    let mut said = Vec::new();
    while !said
        .last()
        .is_some_and(|line: &String| line.contains("Ctrl-C"))
    {
        said.push(demo.line(SOON).unwrap());
    }
    let after = |start: &str| {
        said.iter()
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
    };
    let addresses: Vec<_> = after("gRPC server").split_whitespace().collect();
    let port = |start: &str| {
        let address = after(start).trim();
        address.rsplit(':').next().unwrap().parse::<u16>().unwrap()
    };
    let bridge = port("bridge");
    let page = Events::open(port("web console"), "");
    page.named("hello");
    page.named("history");
    history::say(port("message log"), "anna", "Hello");
    assert_eq!(page.named("entry").data["number"], 1);
    let readers = [Reader::start(addresses[0]), Reader::start(addresses[1])];
    let mut sent = vec![seen("a", "b", send(&client(addresses[1]), "a", "b"))];
    sent.push(seen("c", "d", post_message(bridge, "c", "d")));
    for reader in readers {
        assert_eq!([reader.seen(), reader.seen()], *sent);
    }
    let mut got = Vec::new();
    eventually(SOON, "both messages", || {
        got.extend(flush(bridge));
        got.len() >= 2
    });
    assert_eq!(got, sent);
    for message in &sent {
        assert_eq!(page.named("chat").data["text"], *message.text);
    }
    assert!(
        said.iter()
            .any(|line| line.contains(&format!("curl -X POST http://127.0.0.1:{bridge}/get")))
    );
    demo.signal(Signal::INT);
    assert_eq!(demo.wait_exit(Duration::from_secs(5)), 0);
}

#[test]
fn a_server_says_at_start_that_the_limit_of_open_files_is_too_low() {
    let mut shell = command("sh");
    let run = "ulimit -n 300 && exec \"$0\" server --host 127.0.0.1 --port 0";
    shell.args(["-c", run, env!("CARGO_BIN_EXE_messenger")]);
    let low = Server::listening(Process::spawn(shell), 1);
    assert!(low.log().contains("ulimit"), "{}", low.log());
    assert!(low.log().contains("wanted=10000"), "{}", low.log());
    let fine = Server::start(&["--max-streams", "10"]);
    assert!(!fine.log().contains("ulimit"), "{}", fine.log());
}
