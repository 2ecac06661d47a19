//! Our programs and a plain Python client before a server that wants tokens. None of them
//! shows one in its log.

use std::time::Duration;

use crate::support::certificates::Authority;
use crate::support::http::{flush, post};
use crate::support::jobs::Place;
use crate::support::process::Process;
use crate::support::programs::{Bridge, Console, Program, Python, Server, messenger_with};
use crate::support::tokens::{SECRET, Tokens};
use crate::support::{SOON, eventually, tls};
use messenger::chat::client::ChatClient;

const DEBUG: [&str; 2] = ["--log-level", "debug"];
const HELLO: &str = r#"{"author": "anna", "text": "Hello"}"#;

fn server(tokens: &Tokens, flags: &[&str]) -> Program {
    Server::start(&[&tokens.flags()[..], &DEBUG, flags].concat())
}

/// To be called at the end: standard error has no token, nor has what is left of standard
/// output.
fn told_no_secret(processes: &[&Process]) {
    for process in processes {
        let log = process.log();
        assert!(!log.contains(SECRET), "{log}");
        assert!(!process.has_line(SECRET));
    }
}

#[test]
fn a_python_client_sends_a_token_with_two_lines_more() {
    let authority = Authority::new("ours");
    let pair = authority.issue(&["localhost", "127.0.0.1"]);
    for with_tls in [false, true] {
        let tokens = Tokens::new();
        let [name, other] = ["python", "other"].map(|name| tokens.add(name, &["*"]));
        let flags = tls::flags(&pair);
        let server = server(&tokens, if with_tls { &flags } else { &[] });
        let ca = tls::ca(&authority);
        let start = |token: &str| {
            let arguments = [&*server.address(), token, &ca];
            let used = if with_tls { 3 } else { 2 };
            Python::spawn("token_client.py", &arguments[..used], &[])
        };
        let python = start(&name);
        let line = || {
            python
                .line(SOON)
                .unwrap_or_else(|| panic!("{}", python.log()))
        };
        assert_eq!(line(), "sent");
        server.wait_for_log(SOON, "stream opened");
        let second = start(&other);
        assert_eq!(line(), "Hello", "what the second one sends");
        tokens.remove("python");
        let end = line();
        assert!(end.starts_with("UNAUTHENTICATED over: "), "{end}");

        let refused = start("secret-wrong");
        for _ in ["the message", "the stream"] {
            let line = refused.line(SOON).unwrap();
            assert_eq!(line, "UNAUTHENTICATED authorization: no such token");
        }
        told_no_secret(&[&server, &second]);
    }
}

#[test]
fn a_bridge_sends_its_token_and_takes_another_one_without_a_restart() {
    let tokens = Tokens::new();
    let [first, second] =
        ["first", "second"].map(|name| tokens.add(name, &["chat:read", "chat:write"]));
    let server = server(&tokens, &[]);
    let file = tokens.file("bridge.token", &first);
    let flags = [&["--token-file", &file][..], &DEBUG].concat();
    let bridge = Bridge::start(&server.address(), &flags);
    let send = || post(bridge.port(), "/sendMessage", HELLO).status;
    assert_eq!(send(), 200);
    eventually(SOON, "the message comes", || {
        !flush(bridge.port()).is_empty()
    });

    tokens.file("bridge.token", &second);
    bridge.wait_for_log(SOON, "the token was read again");
    tokens.remove("first");
    bridge.wait_for_log(SOON, "the subscription is lost");
    assert_eq!(send(), 200);
    bridge.wait_for_log(SOON, "live again");
    assert_eq!(send(), 200);
    eventually(SOON, "the message comes", || {
        !flush(bridge.port()).is_empty()
    });
    told_no_secret(&[&server, &bridge]);
}

#[test]
fn a_bridge_that_is_refused_says_so_and_does_not_hurry() {
    let tokens = Tokens::new();
    let server = server(&tokens, &[]);
    let file = tokens.file("bridge.token", "secret-wrong");
    let flags = ["--token-file", &file, "--connect-wait", "0s"];
    let bridge = Bridge::start(&server.address(), &[&flags[..], &DEBUG].concat());
    bridge.wait_for_log(SOON, "the server refuses the token of this bridge");
    let answer = post(bridge.port(), "/sendMessage", HELLO);
    assert_eq!(
        answer.status, 503,
        "its clients' own token is not the one that is wrong"
    );
    assert!(answer.body.contains("no such token"), "{}", answer.body);
    // A subscription is tried again after two to four seconds.
    let tries = || server.log().matches("Chat/Subscribe").count();
    eventually(SOON, "another try", || tries() == 2);
    let told = bridge.log().matches("refuses the token").count();
    assert_eq!(told, 1, "{}", bridge.log());

    let token = tokens.add("bridge", &["chat:read", "chat:write"]);
    tokens.file("bridge.token", &token);
    bridge.wait_for_log(SOON, "the subscription is live");
    assert!(tries() <= 5, "{}", server.log());
    told_no_secret(&[&server, &bridge]);
}

#[test]
fn a_console_has_a_token_of_its_own_for_the_server() {
    let tokens = Tokens::new();
    let token = tokens.add("console", &["*"]);
    let server = server(&tokens, &[]);
    let post = |console: &Program| {
        let json = [("content-type", "application/json")];
        crate::support::http::request("POST", console.port(), "/api/chat", &json, HELLO)
    };
    let file = tokens.file("console.token", &token);
    let with = [&["--token-file", &file][..], &DEBUG].concat();
    let with = Console::start(&server.address(), &with);
    assert_eq!(post(&with).status, 200);
    let without = Console::start(&server.address(), &DEBUG);
    let answer = post(&without);
    assert_eq!(answer.status, 503);
    assert!(
        answer
            .body
            .contains("the server refuses the token of this program")
    );
    told_no_secret(&[&server, &with, &without]);
}

#[test]
fn a_worker_that_is_refused_keeps_its_tasks_until_it_is_let_in() {
    let tokens = Tokens::new();
    let server = server(&tokens, &[]);
    let file = tokens.file("worker.token", "secret-wrong");
    let place = Place::embedded();
    place.send(&["fact:5"]);
    let worker = place.work(
        &server.address(),
        &["--token-file", &file, "--attempts", "1"],
    );
    worker.wait_for_log(SOON, "tried again: UNAUTHENTICATED");
    let token = tokens.add("worker", &["message:call"]);
    tokens.file("worker.token", &token);
    let jobs = place.wait_for(1);
    let job = jobs.values().next().unwrap();
    assert_eq!(
        (&job["state"], &job["attempts"]),
        (&"done".into(), &1.into()),
        "{job}"
    );
    told_no_secret(&[&server, &worker]);
}

/// Exit code, standard output and standard error.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut process = messenger_with(arguments, variables);
    let lines = process.lines(SOON).join("\n");
    (process.wait_exit(SOON), lines, process.log())
}

#[test]
fn commands_at_a_terminal_send_the_token_of_a_file_or_a_variable() {
    let tokens = Tokens::new();
    let token = tokens.add("anna", &["*"]);
    let file = tokens.file("anna.token", &token);
    let server = server(&tokens, &["--ticker-interval", "10ms"]);
    let address = server.address();
    let commands: [&[&str]; 6] = [
        &["send", "anna", "Hello"],
        &["todo", "add", "Water the plants"],
        &["todo", "list"],
        &["call", "ab", "user42"],
        &["ticker", "A"],
        &["tail", "--count", "1"],
    ];
    let sender = ChatClient::over(tokens.connection(&address, &token));
    for command in commands {
        let command = [command, &["--server", &address]].concat();
        let (code, _, log) = run(&command, &[]);
        assert_eq!(code, 1, "{command:?}");
        assert!(log.contains("authorization: missing"), "{command:?}: {log}");
        let mut process = messenger_with(&command, &[("MESSENGER_TOKEN_FILE", &file)]);
        eventually(SOON, "it has ended", || {
            sender.send("a", "for tail", SOON).unwrap();
            !process.is_alive()
        });
        assert_eq!(process.wait_exit(SOON), 0, "{command:?}: {}", process.log());
        told_no_secret(&[&process]);
    }
    let health = ["healthcheck", "--server", &address];
    assert_eq!(run(&health, &[]).0, 0, "open to all");
    let broken = tokens.file("broken.token", "secret-two words");
    let flags = [
        "send",
        "a",
        "b",
        "--server",
        &address,
        "--token-file",
        &broken,
    ];
    let (code, _, log) = run(&flags, &[]);
    assert_eq!(code, 1);
    assert!(
        log.contains("--token-file: ") && log.contains("broken.token: one token"),
        "{log}"
    );
    assert!(!log.contains(SECRET), "{log}");
    told_no_secret(&[&server]);
}

#[test]
fn tokens_in_plain_text_are_warned_of_unless_only_this_machine_listens() {
    const WARNING: &str = "without TLS, tokens are plain text";
    let tokens = Tokens::new();
    tokens.add("anna", &["*"]);
    let start = |host: &str| {
        let flags = ["server", "--host", host, "--port", "0"];
        Server::listening(
            messenger_with(&[&flags[..], &tokens.flags()].concat(), &[]),
            1,
        )
    };
    assert!(start("0.0.0.0").log().contains(WARNING));
    assert!(!start("127.0.0.1").log().contains(WARNING));
    let folder = tempfile::tempdir().unwrap();
    let variables = [("MESSENGER_DATA_DIR", folder.path().to_str().unwrap())];
    let [bridge, console, history] = [&["client"][..], &["web"], &["history", "serve"]]
        .map(|command| [command, &["--host", "0.0.0.0", "--http-port", "0"]].concat())
        .map(|command| messenger_with(&[&command[..], &tokens.flags()].concat(), &variables));
    for program in [bridge, console, history] {
        program.wait_for_log(SOON, WARNING);
    }
    tokens.remove("anna");
    let empty = start("127.0.0.1");
    empty.wait_for_log(Duration::from_secs(1), "every call is refused");
    let (code, _, log) = run(&["server", "--port", "0", "--auth-tokens", "/nowhere"], &[]);
    assert_eq!(code, 1);
    assert!(log.contains("--auth-tokens: /nowhere: "), "{log}");
}
