//! `messenger demo --once`, `--port-file`, and the page on testing: how the tests of others
//! find the programs, wait for them and end them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};

use super::layout::root;
use crate::support::http::{post, request, send};
use crate::support::metrics::Scrape;
use crate::support::process::{Process, Signal, command};
use crate::support::programs::{Server, accepts, messenger, python};
use crate::support::terminal::Terminal;
use crate::support::{SOON, eventually};

const MESSENGER: &str = env!("CARGO_BIN_EXE_messenger");

/// `demo --once` with this shell script and its arguments.
fn once(script: &str, arguments: &[&str]) -> Process {
    messenger(&[&["demo", "--once", "sh", "-c", script, "sh"], arguments].concat())
}

#[test]
fn a_command_runs_beside_all_services_and_finds_them() {
    let script = "cd /; for name in SERVER CLIENT1 CLIENT2 HISTORY WEB; do \
                  printenv MESSENGER_TEST_${name}_ADDR; done; printenv RUST_MIN_STACK; read -r go; cat /nothing; exit 7";
    let mut demo = command(MESSENGER);
    demo.args([
        "demo",
        "--port",
        "1",
        "--data-dir",
        "/nothing",
        "--metrics-port",
        "0",
    ]);
    demo.args(["--once", "sh", "-c", script]);
    let mut demo = Process::spawn_typed(demo);
    let at: Vec<SocketAddr> = (0..5)
        .map(|_| demo.line(SOON).unwrap().parse().unwrap())
        .collect();
    let [server, one, two, log, web] = at[..] else {
        panic!("{at:?}");
    };
    assert!(at.iter().all(|at| at.ip().is_loopback()), "{at:?}");
    send(one.port(), "anna", "Hello");
    let prefer = [("Prefer", "wait=20")];
    let flushed = request("POST", two.port(), "/getAndFlushMessages", &prefer, "");
    assert!(flushed.body.contains("Hello"), "{}", flushed.body);
    assert_eq!(
        post(log.port(), "/", r#"{"sender":"anna","text":"a"}"#).status,
        200
    );
    assert_eq!(request("GET", web.port(), "/", &[], "").status, 200);
    let sent = messenger(&["send", "--server", &server.to_string(), "anna", "b"]).wait_exit(SOON);
    assert_eq!(sent, 0);
    demo.type_line("go");
    assert_eq!(demo.wait_exit(SOON), 7, "{}", demo.log());
    // Its own words are not among the command's.
    assert_eq!(demo.lines(SOON), [""; 0]);
    assert!(!accepts(server.port()) && !accepts(one.port()));
}

#[test]
fn all_behind_once_is_the_command_and_its_end_is_told_as_a_shell_does() {
    let hyphens = ["--port", "1", "-h", "--", "--once", "--help"];
    let mut demo = once("printf '%s\\n' \"$@\"", &hyphens);
    assert_eq!(demo.lines(SOON), hyphens);
    assert_eq!(demo.wait_exit(SOON), 0);
    for (script, code) in [
        ("exit 3", 3),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        assert_eq!(once(script, &[]).wait_exit(SOON), code, "{script}");
    }
    for (program, code) in [("no-such-command", 127), ("/etc/passwd", 126)] {
        let mut demo = messenger(&["demo", "--once", program, "--version"]);
        assert_eq!(demo.wait_exit(SOON), code);
        assert!(demo.log().contains(program), "{}", demo.log());
    }
    assert_eq!(messenger(&["demo", "--once"]).wait_exit(SOON), 2);
}

#[test]
fn signals_go_to_the_command_whose_code_counts() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
    ] {
        let script =
            format!("trap 'echo got; exit 5' {name}; echo up; while :; do read -r x; done");
        let mut shell = command(MESSENGER);
        shell.args(["demo", "--once", "sh", "-c", &script]);
        let mut demo = Process::spawn_typed(shell);
        demo.wait_for_line(SOON, "up");
        demo.signal(signal);
        demo.wait_for_line(SOON, "got");
        assert_eq!(demo.wait_exit(SOON), 5, "{}", demo.log());
    }
    // One that takes no heed is asked as often as anybody likes.
    let script = "trap 'echo once more' TERM; echo up; while :; do read -r x; done";
    let mut shell = command(MESSENGER);
    shell.args(["demo", "--once", "sh", "-c", script]);
    let mut demo = Process::spawn_typed(shell);
    demo.wait_for_line(SOON, "up");
    for _ in 0..3 {
        demo.signal(Signal::TERM);
        demo.wait_for_line(SOON, "once more");
    }
    demo.signal(Signal::INT);
    assert_eq!(demo.wait_exit(SOON), 130, "{}", demo.log());
}

#[test]
fn a_key_of_the_terminal_reaches_the_command_once() {
    let script = "n=0; trap 'n=$((n+1)); echo got' INT; echo up; \
                  while :; do read -r x; test \"$x\" = end && break; done; echo $n times; exit 5";
    let mut shell = command("setsid");
    shell.args(["--ctty", "--wait", MESSENGER, "--log-level", "warn"]);
    shell.args(["demo", "--once", "sh", "-c", script]);
    let mut demo = Terminal::spawn(shell);
    demo.wait_for("up");
    // Ctrl-C.
    demo.enter("\x03");
    demo.wait_for("got");
    demo.enter("end");
    demo.wait_for("1 times");
    assert_eq!(demo.wait_exit(SOON), 5);
}

#[test]
fn a_program_that_is_ready_has_written_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ports");
    let path = file.to_str().unwrap();
    let server = Server::start(&[]);
    let address = server.address();
    let data = folder.path().to_str().unwrap();
    let all: [(&[&str], &[&str]); 6] = [
        (
            &["server", "--port", "0", "--also-port", "0"],
            &["server", "server"],
        ),
        (
            &["client", "--server", &address, "--http-port", "0"],
            &["client"],
        ),
        (&["web", "--server", &address, "--http-port", "0"], &["web"]),
        (
            &["history", "serve", "--data-dir", data, "--http-port", "0"],
            &["history"],
        ),
        (
            &["jobs", "work", "--data-dir", data, "--target", &address],
            &[],
        ),
        (
            &[
                "demo",
                "--port",
                "0",
                "--also-port",
                "0",
                "--http-port",
                "0",
                "--web-port",
                "0",
                "--history-port",
                "0",
            ],
            &["server", "server", "client", "history", "web"],
        ),
    ];
    for (arguments, names) in all {
        fs::write(&file, "server 127.0.0.1:1\n").unwrap();
        let observed = ["--metrics-port", "0", "--port-file", path];
        let mut process = messenger(&[arguments, &observed].concat());
        process.wait_for_line(SOON, "messenger metrics listening on");
        eventually(SOON, "the file", || file.exists());
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .collect();
        let told: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
        assert_eq!(told, [names, &["metrics"]].concat(), "{arguments:?}");
        for (name, address) in lines {
            let address: SocketAddr = address.parse().unwrap();
            assert!(
                address.ip().is_loopback() && accepts(address.port()),
                "{name} {address}"
            );
            if name == "metrics" {
                Scrape::of(address.port());
            }
        }
        process.signal(Signal::TERM);
        assert_eq!(process.wait_exit(SOON), 0, "{}", process.log());
    }
    let nowhere = messenger(&["server", "--port", "0", "--port-file", "/nothing/ports"]);
    let mut nowhere = nowhere;
    assert_eq!(nowhere.wait_exit(SOON), 1);
    assert!(
        nowhere.log().contains("--port-file /nothing/ports"),
        "{}",
        nowhere.log()
    );
}

/// The block in this language on the page.
fn block(language: &str) -> String {
    let page = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let mut events = Parser::new(&page);
    let wanted = |event: &Event<'_>| matches!(event, Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(it))) if &**it == language);
    events
        .find(wanted)
        .unwrap_or_else(|| panic!("no block in {language}"));
    match events.next() {
        Some(Event::Text(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A command that finds `messenger` and the environment of the tests.
fn with_path(program: &str, folder: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let python = python();
    let folders = [Path::new(MESSENGER).parent(), python.parent()];
    let folders = folders.map(|it| it.unwrap().display().to_string());
    let mut command = command(program);
    command.env("PATH", format!("{}:{path}", folders.join(":")));
    command.current_dir(folder);
    command
}

fn run(mut command: Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{command:?}: {out}{log}");
}

#[test]
fn a_suite_without_a_sleep_never_fails_in_200_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = with_path(MESSENGER, folder.path());
    let suite = root().join("tests/reference/test_chat.py");
    demo.args(["--log-level", "warn", "demo", "--once", "pytest", "-q"]);
    demo.args(["-p", "no:cacheprovider"])
        .arg(suite)
        .env("ROUNDS", "200");
    run(demo);
}

#[test]
fn the_test_for_pytest_on_the_page_passes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("test_hello.py"), block("python")).unwrap();
    run(with_path("pytest", folder.path()));
}

fn is_there(program: &str) -> bool {
    let mut asked = Command::new(program);
    let asked = asked
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = asked.status().is_ok_and(|status| status.success());
    if !there {
        println!("no {program} here: its block is not run");
    }
    there
}

/// Nothing here needs them otherwise, so they are tried only where they are.
#[test]
fn the_tests_for_node_go_and_junit_pass_where_these_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    if is_there("node") {
        fs::write(at("hello.mjs"), block("js")).unwrap();
        let mut node = with_path("node", folder.path());
        node.args(["--test", "hello.mjs"]);
        run(node);
    }
    if is_there("go") {
        fs::write(at("go.mod"), "module hello\n").unwrap();
        fs::write(at("hello_test.go"), block("go")).unwrap();
        let mut go = with_path("go", folder.path());
        go.args(["test", "."]);
        run(go);
    }
    if is_there("javac") {
        // JUnit itself would have to be downloaded: what the test names of it.
        let api = at("org/junit/jupiter/api");
        fs::create_dir_all(&api).unwrap();
        let package = "package org.junit.jupiter.api; public";
        for (name, code) in [
            ("Test", "@interface Test {}"),
            ("AfterEach", "@interface AfterEach {}"),
            (
                "Assertions",
                "class Assertions { public static void assertTrue(boolean b) { if (!b) throw new AssertionError(); } }",
            ),
        ] {
            fs::write(
                api.join(format!("{name}.java")),
                format!("{package} {code}"),
            )
            .unwrap();
        }
        let main = "class Main { public static void main(String[] a) throws Exception { \
                    var test = new HelloTest(); try { test.hello(); } finally { test.stop(); } } }";
        fs::write(at("HelloTest.java"), block("java")).unwrap();
        fs::write(at("Main.java"), main).unwrap();
        let mut javac = with_path("javac", folder.path());
        javac.arg("Main.java");
        run(javac);
        let mut java = with_path("java", folder.path());
        java.args(["-cp", ".", "Main"]);
        run(java);
    }
}
