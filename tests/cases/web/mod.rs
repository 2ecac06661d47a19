//! The web console: over plain HTTP, and in Chromium.

mod burst;
mod events;
mod foreign;
mod front;
mod log;
mod pages;
mod pages_jobs;
mod pages_log;
mod pages_lost;
mod pages_use;

use serde_json::{Value, json};

use crate::support::events::Event;
use crate::support::history::Store;
use crate::support::http::{Answer, request};
use crate::support::programs::{Console, Program, Server};
use crate::support::tab::Tab;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn call(port: u16, path: &str, body: &Value) -> Answer {
    request("POST", port, path, &[JSON], &body.to_string())
}

fn post_message(port: u16, text: &str) {
    let answer = call(port, "/api/chat", &json!({"author": "anna", "text": text}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn text(event: &Event) -> &str {
    event.data["text"].as_str().expect("a text")
}

const BANNER: &str = "#banner";
const MESSAGES: &str = ".messages .text";
const OPEN: &str = ".tasks.open .title";
const DONE: &str = ".tasks.done .title";

fn both(flags: &[&str]) -> (Program, Program) {
    let server = Server::start(flags);
    let console = Console::start(&server.address(), &[]);
    (server, console)
}

/// A log of two replicas, and a console beside the first one. To be taken apart
/// completely: what is left out is dropped at once.
struct WithLog {
    store: Store,
    replicas: Vec<Program>,
    server: Program,
    console: Program,
}

fn with_log(flags: &[&str]) -> WithLog {
    let store = Store::sqlite();
    let replicas = store.replicas(2);
    let server = Server::start(flags);
    let history = replicas[0].address();
    let console = Console::start(&server.address(), &["--history", &history]);
    WithLog {
        store,
        replicas,
        server,
        console,
    }
}

fn url(console: &Program, rest: &str) -> String {
    format!("http://localhost:{}/{rest}", console.port())
}

fn say(tab: &Tab, name: &str, text: &str) {
    tab.fill("#chat-name", name);
    tab.fill("#chat-text", text);
    tab.press("Enter");
}

fn add_task(tab: &Tab, title: &str) {
    tab.fill("#todo-title", title);
    tab.press("Enter");
}

/// Ticks off the open task with this title.
fn complete(tab: &Tab, title: &str) {
    tab.shows(OPEN, title);
    tab.eval(&format!(
        "[...document.querySelectorAll('.tasks.open label')].find((e) => e.innerText.includes({title:?})).click()"
    ));
}

fn add_symbol(tab: &Tab, symbol: &str) {
    tab.fill("#ticker-symbol", symbol);
    tab.press("Enter");
}

fn live(tab: &Tab) {
    tab.shows("#state", "live");
}

fn no_complaints(tabs: &[&Tab]) {
    for tab in tabs {
        assert_eq!(tab.complaints(), [""; 0]);
    }
}
