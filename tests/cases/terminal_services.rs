//! The to-do list and the ticker on a terminal, at both ends of a pipe.

use serde_json::Value;

use crate::support::SOON;
use crate::support::process::{Process, Signal, command};
use crate::support::programs::{Server, messenger};

const MESSENGER: &str = env!("CARGO_BIN_EXE_messenger");

fn todo(server: &str, arguments: &[&str]) -> Process {
    messenger(&[&["todo", "--server", server], arguments].concat())
}

/// What a command prints, line by line, once it has ended well.
fn output(mut process: Process) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = process.line(SOON) {
        lines.push(line);
    }
    assert_eq!(process.wait_exit(SOON), 0, "{}", process.log());
    lines
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

/// A command whose standard input is ours to write.
fn typed(arguments: &[&str]) -> Process {
    let mut command = command(MESSENGER);
    command.args(arguments);
    Process::spawn_typed(command)
}

#[test]
fn tasks_are_added_listed_completed_and_watched() {
    let server = Server::start(&[]);
    let address = server.address();
    let watch = todo(&address, &["watch", "--json", "--count", "3"]);
    watch.wait_for_log(SOON, "watching");
    let plain = todo(&address, &["watch", "--count", "3"]);
    plain.wait_for_log(SOON, "watching");
    assert_eq!(output(todo(&address, &["list"])), ["nothing to do"]);
    let task = output(todo(&address, &["add", "--json", "Чай\u{1b}[2J"]));
    let expected = serde_json::json!({"id": 1, "title": "Чай\u{1b}[2J", "completed": false});
    assert_eq!(json(&task[0]), expected);
    assert_eq!(output(todo(&address, &["add", "b"])), ["[ ] 2  b"]);
    assert_eq!(output(todo(&address, &["done", "1"])), ["completed 1"]);
    let list = output(todo(&address, &["list"]));
    assert_eq!(list, ["[x] 1  Чай\u{fffd}[2J", "[ ] 2  b"]);
    let list = output(todo(&address, &["list", "--json"]));
    assert_eq!(json(&list[0])[1]["title"], "b");
    let changes: Vec<Value> = output(watch).iter().map(|line| json(line)).collect();
    let shown = changes.iter().map(|change| {
        let (action, id) = (change["action"].as_str(), change["task"]["id"].as_i64());
        format!("{} {}", action.unwrap(), id.unwrap())
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        ["ADDED 1", "ADDED 2", "COMPLETED 1"]
    );
    assert_eq!(output(plain)[2], "completed  1  Чай\u{fffd}[2J");
}

#[test]
fn a_refused_task_is_one_line_and_exit_code_one() {
    let server = Server::start(&[]);
    for (arguments, words) in [
        (["done", "7"], "7: NotFound: Task not found"),
        (["add", ""], "title: must not be empty"),
        (
            ["add", &"x".repeat(1025)],
            "1025 bytes are more than the limit of 1024",
        ),
    ] {
        let mut refused = todo(&server.address(), &arguments);
        assert_eq!(refused.wait_exit(SOON), 1);
        let log = refused.log();
        assert!(log.lines().count() == 1 && log.contains(words), "{log}");
    }
}

#[test]
fn the_menu_does_what_it_offers_and_shows_what_others_change() {
    let server = Server::start(&[]);
    let address = server.address();
    let mut menu = typed(&["todo", "--server", &address]);
    // By the first answer, the menu watches.
    menu.wait_for_line(SOON, "4  exit");
    menu.type_line("2");
    menu.wait_for_line(SOON, "nothing to do");
    let other = |title: &str| drop(output(todo(&address, &["add", title])));
    let mut number = 0;
    // Its watch may not be live yet, and nothing says so: until it shows.
    loop {
        number += 1;
        other("from elsewhere");
        if menu.has_line(&format!("added      {number}  from elsewhere")) {
            break;
        }
        assert!(number < 100, "the menu never shows what others add");
    }
    menu.type_line("1");
    menu.type_line("mine");
    menu.wait_for_line(SOON, &format!("[ ] {}  mine", number + 1));
    menu.type_line("3");
    menu.type_line("1");
    menu.wait_for_line(SOON, "completed 1");
    menu.type_line("3");
    menu.type_line("one");
    menu.wait_for_line(SOON, "\"one\" is no task's number");
    menu.type_line("3");
    menu.type_line("4000");
    menu.wait_for_line(SOON, "Task not found");
    menu.type_line("what");
    menu.wait_for_line(SOON, "1  add a task");
    menu.type_line("4");
    assert_eq!(menu.wait_exit(SOON), 0);
}

#[test]
fn the_menu_says_when_the_server_is_away_and_when_it_is_back() {
    let server = Server::start(&[]);
    let port = server.port();
    let mut menu = typed(&["todo", "--server", &server.address()]);
    menu.wait_for_line(SOON, "4  exit");
    drop(server);
    menu.wait_for_line(SOON, "the server is away");
    let _server = Server::start_on(port, &[]);
    menu.wait_for_line(SOON, "the server is back");
    menu.type_line("1");
    menu.type_line("again");
    menu.wait_for_line(SOON, "[ ] 1  again");
    menu.signal(Signal::INT);
    assert_eq!(menu.wait_exit(SOON), 0);
}

#[test]
fn the_ticker_prints_quotes_until_the_server_has_told_them_all() {
    let server = Server::start(&["--ticker-interval", "50ms", "--ticker-seed", "42"]);
    let address = server.address();
    let lines = output(messenger(&[
        "ticker", "--server", &address, "--json", "Сбер", "X",
    ]));
    let quotes: Vec<Value> = lines.iter().map(|line| json(line)).collect();
    for symbol in ["Сбер", "X"] {
        let quotes = quotes.iter().filter(|quote| quote["symbol"] == symbol);
        assert_eq!(quotes.count(), 5);
    }
    assert!(quotes.iter().all(|quote| {
        let number = |field: &str| quote[field].as_f64().unwrap_or(f64::NAN);
        number("price") > 0.0 && number("volume") >= 1000.0 && number("time") > 1.7e9
    }));
    let lines = output(messenger(&["ticker", "--server", &address, "AAPL"]));
    let words: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!((words.len(), words[1], words[5]), (7, "AAPL", "%"));
    assert!(words[3].starts_with(['+', '-']) && !lines[0].contains('\u{1b}'));
}

#[test]
fn symbols_can_be_typed_while_the_ticker_follows() {
    let server = Server::start(&["--ticker-interval", "50ms"]);
    let address = server.address();
    let mut ticker = typed(&["ticker", "--server", &address, "--follow", "A"]);
    ticker.wait_for_line(SOON, "  A  ");
    let long = "L".repeat(33);
    ticker.type_line(&format!("{long} B"));
    ticker.wait_for_line(SOON, "  B  ");
    assert!(ticker.log().contains(&long), "{}", ticker.log());
    // Far beyond the five updates that one request brings.
    for symbol in ["A", "B"].into_iter().cycle().take(20) {
        ticker.wait_for_line(SOON, &format!("  {symbol}  "));
    }
    ticker.signal(Signal::INT);
    assert_eq!(ticker.wait_exit(SOON), 0);
}

#[test]
fn a_symbol_that_is_none_is_refused_before_anything_is_asked() {
    let mut ticker = messenger(&["ticker", "--server", "127.0.0.1:1", "A B"]);
    assert_eq!(ticker.wait_exit(SOON), 1);
    assert!(ticker.log().contains("\"A B\""), "{}", ticker.log());
    let mut away = messenger(&["ticker", "--server", "127.0.0.1:1", "A"]);
    assert_eq!(away.wait_exit(SOON), 1);
    assert!(away.log().contains("Unavailable"), "{}", away.log());
}
