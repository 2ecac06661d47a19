//! Events for pages, encoded once for all of them as server-sent events.
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chat::client::Message;
use crate::chat::json;
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::history::client as history;
use crate::history::wire as log_wire;
use crate::ticker::client::Symbol;
use crate::ticker::wire::{self as ticker, Update};
use crate::todo::client::{Change, TaskList};
use crate::todo::wire as todo;

/// An encoded event; clones share the text.
#[derive(Clone, Debug)]
pub struct Event {
    pub text: Arc<str>,
    /// For the pages that show this symbol only.
    pub symbol: Option<Symbol>,
}

/// A service that the console watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Chat,
    Todo,
    Ticker,
    History,
    Jobs,
}

impl Service {
    pub const ALL: [Service; 5] = [
        Service::Chat,
        Service::Todo,
        Service::Ticker,
        Service::History,
        Service::Jobs,
    ];

    /// Its name in events.
    pub fn name(self) -> &'static str {
        match self {
            Service::Chat => "chat",
            Service::Todo => "todo",
            Service::Ticker => "ticker",
            Service::History => "history",
            Service::Jobs => "jobs",
        }
    }
}

/// How long the browser waits before it opens a lost stream again.
pub const RETRY: &str = "retry: 1000\n\n";

/// Keepalive, with the milliseconds since each service showed that it is alive.
pub fn beat(proofs: impl Iterator<Item = (Service, Duration)>) -> Event {
    let age = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let ages: serde_json::Map<_, _> = proofs
        .map(|(service, proof)| (service.name().into(), age(proof).into()))
        .collect();
    encode(None, "beat", &Value::from(ages).to_string())
}

/// The id from which the page resumes the chat.
pub fn hello(id: &str) -> Event {
    encode(Some(id), "hello", "{}")
}

pub fn chat(id: &str, message: &Message) -> Event {
    encode(Some(id), "chat", &json::message(message))
}

/// Chat messages may be missing here.
pub fn gap(id: Option<&str>) -> Event {
    encode(id, "gap", "{}")
}

/// The whole list.
pub fn tasks(list: &TaskList) -> Event {
    let tasks: Vec<Value> = list.tasks().iter().map(todo::task_json).collect();
    encode(None, "tasks", &json!({ "tasks": tasks }).to_string())
}

pub fn task(change: &Change) -> Event {
    encode(None, "task", &todo::change_json(change).to_string())
}

pub fn quote(symbol: Symbol, update: &Update) -> Event {
    let event = encode(None, "quote", &ticker::json(update).to_string());
    Event {
        symbol: Some(symbol),
        ..event
    }
}

/// The newest messages of the log, which are JSON, and the senders' counts.
pub fn history<'a>(messages: impl Iterator<Item = &'a str>, senders: &[history::Sender]) -> Event {
    let messages = log_wire::array(messages);
    let senders = log_wire::senders(senders);
    let data = format!(r#"{{"messages":{messages},"senders":{senders}}}"#);
    encode(None, "history", &data)
}

/// A new message of the log.
pub fn entry(json: &str) -> Event {
    encode(None, "entry", json)
}

/// The newest jobs, and the queue's depth.
pub fn jobs(state: &Value) -> Event {
    encode(None, "jobs", &state.to_string())
}

/// Whether a service is reached, and since when. One that the server or the
/// console does not have is missing rather than down.
pub fn status(service: Service, down: Option<&Error>, since: Timestamp) -> Event {
    let value = json!({
        "service": service.name(),
        "up": down.is_none(),
        "since": since.rfc3339(),
        "missing": down.is_some_and(|error| error.code == Code::Unimplemented),
        "reason": down.map(|error| error.message.as_str()),
    });
    encode(None, "status", &value.to_string())
}

/// The symbols that a page does not get: however many, 100 of them by name, each cut
/// at 33 characters, and why it does not get the first.
pub fn refused(symbols: &[&str], error: &Error) -> Event {
    let name = |symbol: &&str| symbol.chars().take(33).collect::<String>();
    let names: Vec<_> = symbols.iter().take(100).map(name).collect();
    let value = json!({ "symbols": names, "count": symbols.len(), "message": error.message });
    encode(None, "refused", &value.to_string())
}

/// `data` is JSON, so it has no line end that would end the field.
fn encode(id: Option<&str>, name: &str, data: &str) -> Event {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    Event {
        text: format!("{id}event: {name}\ndata: {data}\n\n").into(),
        symbol: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_people_ends_a_field() {
        let message = Message {
            author: "a\nid: 7".into(),
            text: "b\r\n\r\nevent: tasks\ndata: {}\u{2028}".into(),
            send_time: Timestamp::from_nanos(0),
        };
        let event = chat("e-1", &message).text;
        let lines: Vec<_> = event.split(['\n', '\r']).collect();
        assert_eq!(lines.len(), 5, "{event}");
        assert_eq!((lines[0], lines[1]), ("id: e-1", "event: chat"));
        assert!(lines[2].starts_with("data: {\"author\":"), "{event}");
        assert_eq!((lines[3], lines[4]), ("", ""));
    }
}
