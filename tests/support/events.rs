//! A console's stream of events, read as a browser reads it.

use std::io::{BufRead as _, BufReader};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use serde_json::Value;

use super::SOON;

#[derive(Clone, Debug)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

pub struct Events {
    events: Receiver<Event>,
}

impl Events {
    /// Opens `/events` with this query.
    pub fn open(port: u16, query: &str) -> Self {
        Self::open_from(port, query, None)
    }

    /// The same for a browser that comes back.
    pub fn open_from(port: u16, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = ureq::get(format!("http://127.0.0.1:{port}/events?{query}"));
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let answer = request
            .call()
            .unwrap_or_else(|e| panic!("/events?{query}: {e}"));
        assert_eq!(answer.headers()["Content-Type"], "text/event-stream");
        let lines = BufReader::new(answer.into_body().into_reader()).lines();
        let (sender, events) = unbounded();
        thread::spawn(move || {
            let (mut id, mut name, mut data) = (None, String::new(), String::new());
            for line in lines.map_while(Result::ok) {
                match line.split_once(": ") {
                    Some(("id", value)) => id = Some(value.to_owned()),
                    Some(("event", value)) => name = value.to_owned(),
                    Some(("data", value)) => data = value.to_owned(),
                    Some(_) => {}
                    None if data.is_empty() => {}
                    None => {
                        let event = Event {
                            id: id.take(),
                            name: std::mem::take(&mut name),
                            data: serde_json::from_str(&data).expect("JSON"),
                        };
                        data.clear();
                        if sender.send(event).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Self { events }
    }

    /// The next event of any kind.
    pub fn next(&self) -> Event {
        self.events.recv_timeout(SOON).expect("an event in time")
    }

    /// The next event of this name; others are skipped.
    pub fn named(&self, name: &str) -> Event {
        let deadline = Instant::now() + SOON;
        loop {
            let event = self.events.recv_deadline(deadline);
            let event = event.unwrap_or_else(|e| panic!("no {name:?} in time: {e}"));
            if event.name == name {
                return event;
            }
        }
    }

    /// Skips what comes until the stream is over.
    pub fn end(&self, within: Duration) {
        loop {
            match self.events.recv_timeout(within) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("the stream did not end in {within:?}"),
            }
        }
    }
}
