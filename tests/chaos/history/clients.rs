//! Clients that send, read pages, and follow.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fastrand::Rng;
use messenger::error::Error;
use messenger::history::client::{HistoryClient, Message, Page};
use messenger::history::entry::From;
use messenger::history::wire;
use serde_json::json;

use super::event::{HistoryEvent, Place, Row};
use crate::chaos::record::Pen;
use crate::chaos::run::Stop;
use crate::support::{SOON, history};

/// Longer than the service's own, which says what became of a message.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often a message is sent at most.
const AGAIN: usize = 8;

const NAMES: [&str; 5] = ["anna", "boris", "chloé", "филипп", "jan"];

/// The number of the last message of a run, for which all followers wait.
pub type Last = OnceLock<i64>;

/// One client, which takes any of its replicas for each call.
pub struct Client {
    rng: Rng,
    replicas: Vec<HistoryClient>,
    pen: Pen<HistoryEvent>,
    /// Of its next message, page or stream.
    next: u64,
}

impl Client {
    pub fn new(seed: u64, number: usize, ports: &[u16], pen: Pen<HistoryEvent>) -> Self {
        let next = 1_000_000 * (number as u64 + 1);
        let client = |port| HistoryClient::new(&format!("127.0.0.1:{port}"), None, None, TIMEOUT);
        Self {
            rng: Rng::with_seed(seed ^ (next << 32)),
            replicas: ports.iter().map(client).collect(),
            pen,
            next,
        }
    }

    fn replica(&mut self) -> &HistoryClient {
        let replica = self.rng.usize(..self.replicas.len());
        &self.replicas[replica]
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn send(&mut self, stop: &Stop) {
        while !stop.wait(Duration::from_millis(self.rng.u64(..20))) {
            self.attempt();
        }
    }

    /// Sends until one is accepted, when all is whole again; returns its number.
    pub fn end(&mut self) -> i64 {
        let accepted = (0..30).find_map(|_| self.attempt());
        accepted.expect("a replica that accepts when all is whole again")
    }

    fn attempt(&mut self) -> Option<i64> {
        let message = self.number();
        let sender = match self.rng.u8(..) {
            // Too long: it has to be refused.
            0..4 => "a".repeat(300),
            other => NAMES[usize::from(other) % NAMES.len()].to_owned(),
        };
        let body = json!({ "sender": sender, "text": text(message) }).to_string();
        self.pen.note(HistoryEvent::Asked { message, sender });
        // Half of them have a key, by which they are sent again.
        let key = self.rng.bool().then(|| format!("message-{message}"));
        let mut known = true;
        for _ in 0..AGAIN {
            let answer = self.replica().append(body.as_bytes(), key.as_deref());
            let event = outcome(message, answer, known);
            self.pen.note(event.clone());
            let number = match event {
                HistoryEvent::Unknown { .. } => None,
                HistoryEvent::Answered { number, .. } => Some(number),
                _ => return None,
            };
            // Some never learn that they were answered.
            if key.is_none() || (number.is_some() && self.rng.u8(..8) > 0) {
                return number;
            }
            known = false;
            self.pen.note(HistoryEvent::Again { message });
        }
        None
    }

    /// Reads on from where it was, back, or what is newest.
    pub fn page(&mut self, stop: &Stop) {
        let mut place = 0;
        while !stop.wait(Duration::from_millis(self.rng.u64(..80))) {
            let from = match self.rng.u8(..4) {
                0 => Place::Newest,
                1 => Place::Before(place),
                _ => Place::After(place),
            };
            let page = self.number();
            self.pen.note(HistoryEvent::Reads { page, from });
            let page_of = Page {
                from: match from {
                    Place::Newest => From::End,
                    Place::Before(number) => From::Before(number),
                    Place::After(number) => From::After(number),
                },
                limit: self.rng.i64(1..60),
                ..Page::default()
            };
            if let Ok((200, body)) = self.replica().page(page_of) {
                let rows = wire::parse_messages(&body).expect("messages");
                let rows: Vec<_> = rows.into_iter().map(row).collect();
                place = rows.last().map_or(place, |row| row.number);
                self.pen.note(HistoryEvent::Read { page, rows });
            }
        }
    }

    /// One stream after the other, from where the one before was lost, or from before
    /// that, until the last message has come.
    pub fn follow(&mut self, stop: &Stop, last: &Last) {
        let mut newest = 0;
        while last.get().is_none_or(|last| newest < *last) {
            let after = match self.rng.u8(..8) {
                0 => 0,
                1 => self.rng.i64(0..=newest),
                _ => newest,
            };
            let stream = self.number();
            self.pen.note(HistoryEvent::Follows { stream, after });
            match self.read(stream, after, stop, last) {
                Ok(read) => {
                    self.pen.note(HistoryEvent::Left { stream });
                    newest = newest.max(read);
                    if stop.is_stopped() {
                        return;
                    }
                }
                Err((read, status)) => {
                    self.pen.note(HistoryEvent::Ended { stream, status });
                    newest = newest.max(read);
                }
            }
            stop.wait(Duration::from_millis(self.rng.u64(..300)));
        }
    }

    /// Up to which number it was read, and how it ended if the client did not leave.
    fn read(
        &mut self,
        stream: u64,
        after: i64,
        stop: &Stop,
        last: &Last,
    ) -> Result<i64, (i64, String)> {
        let (mut newest, mut left) = (after, self.rng.u64(..3_000));
        let lost = |newest: i64, error: &dyn std::fmt::Display| (newest, error.to_string());
        let followed = self.replica().follow(after);
        let mut messages = followed.map_err(|error| lost(newest, &error))?;
        let close = RefCell::new(Some(messages.closer()));
        let deadline = RefCell::new(None);
        // Beats come when nothing else does.
        let heard = || {
            if stop.is_stopped() {
                let mut deadline = deadline.borrow_mut();
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + 2 * SOON);
                if Instant::now() > deadline
                    && let Some(close) = close.borrow_mut().take()
                {
                    close();
                }
            }
        };
        while last.get().is_none_or(|last| newest < *last) && (left > 0 || stop.is_stopped()) {
            match messages.recv(heard) {
                Ok(message) => {
                    newest = message.number;
                    let row = row(message);
                    self.pen.note(HistoryEvent::Followed { stream, row });
                    left = left.saturating_sub(1);
                }
                // The last one has not come in time.
                Err(_) if close.borrow().is_none() => return Ok(newest),
                Err(error) => return Err(lost(newest, &error)),
            }
        }
        Ok(newest)
    }
}

/// What the answer tells, if it is `known` that none before it has stored the message.
fn outcome(message: u64, answer: Result<(u16, String), Error>, known: bool) -> HistoryEvent {
    match answer {
        Ok((200, body)) => {
            let shown = wire::parse_messages(&body).expect("messages");
            let number = shown.last().map_or(0, |message| message.number);
            HistoryEvent::Answered {
                message,
                number,
                body,
            }
        }
        Ok((status, body)) => {
            let not_stored = status < 500 || (known && body.contains("was not stored"));
            let status = format!("{status} {body}");
            match not_stored {
                true => HistoryEvent::Refused { message, status },
                false => HistoryEvent::Unknown { message, status },
            }
        }
        Err(error) => HistoryEvent::Unknown {
            message,
            status: error.to_string(),
        },
    }
}

/// The text of a message: its number, and a few bytes more.
pub fn text(message: u64) -> String {
    let bytes = usize::try_from(message % 97).unwrap_or(0);
    format!("{message} {}", "x".repeat(bytes))
}

/// The number of a message whose text is whole.
fn message(whole: &str) -> u64 {
    let number = whole.split(' ').next().and_then(|it| it.parse().ok());
    let number = number.unwrap_or_else(|| panic!("no text of ours: {whole:?}"));
    assert_eq!(text(number), whole);
    number
}

pub fn row(shown: Message) -> Row {
    Row {
        number: shown.number,
        message: message(&shown.text),
        sender: shown.sender,
        count: shown.sender_count,
        at: shown.sent_at,
    }
}

pub fn stored(row: history::Row) -> Row {
    Row {
        number: row.number,
        message: message(&row.text),
        sender: row.sender,
        count: row.sender_count,
        at: row.sent_at,
    }
}
