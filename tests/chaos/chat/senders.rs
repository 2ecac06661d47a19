//! Clients that send.

use std::ops::RangeFrom;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use messenger::chat::client::ChatClient;
use messenger::error::{Code, Error};

use super::event::ChatEvent;
use crate::chaos::record::{Event, Pen};
use crate::chaos::run::Stop;
use crate::support::rpc::client;

/// Long enough for a busy server, short enough for one that is gone.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// The text of a message: its number, and so many bytes more.
pub fn text(message: u64, bytes: usize) -> String {
    format!("{message} {}", "x".repeat(bytes))
}

/// The number of a message by its text.
pub fn message(text: &str) -> u64 {
    let number = text.split(' ').next();
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no text of ours: {text:?}"))
}

/// The messages of a sender have numbers from here on.
pub fn first(sender: usize) -> u64 {
    1_000_000 * (sender as u64 + 1)
}

pub fn send<E: Event + From<ChatEvent>>(
    seed: u64,
    number: usize,
    port: u16,
    mut pen: Pen<E>,
    stop: &Stop,
) {
    let mut rng = Rng::with_seed(seed ^ first(number));
    let sender = client(&format!("127.0.0.1:{port}"));
    for message in first(number).. {
        let pause = Duration::from_micros(rng.u64(..12_000));
        if stop.wait(pause) {
            return;
        }
        let author = match rng.u8(..) {
            // Too long: it has to be refused.
            0 => "a".repeat(300),
            _ => format!("sender {number}"),
        };
        let bytes = match rng.u8(..20) {
            0 => rng.usize(..16_384),
            _ => rng.usize(..200),
        };
        attempt(&sender, &author, message, &text(message, bytes), &mut pen);
    }
}

/// Sends one and notes what comes of it; whether it was accepted.
pub fn attempt<E: Event + From<ChatEvent>>(
    sender: &ChatClient,
    author: &str,
    message: u64,
    text: &str,
    pen: &mut Pen<E>,
) -> bool {
    pen.note(ChatEvent::Asked { message });
    let sent = sender.send(author, text, TIMEOUT);
    pen.note(match &sent {
        Ok(time) => ChatEvent::Answered {
            message,
            time: time.nanos(),
        },
        Err(error) if is_refusal(error) => ChatEvent::Refused {
            message,
            status: error.to_string(),
        },
        Err(error) => ChatEvent::Unknown {
            message,
            status: error.to_string(),
        },
    });
    sent.is_ok()
}

/// A client that sends much at once: a reader that pauses meanwhile has more to come
/// than its transport takes.
pub struct Bursts {
    sender: ChatClient,
    messages: RangeFrom<u64>,
    filling: String,
}

impl Bursts {
    pub fn new(port: u16, number: usize) -> Self {
        Self {
            sender: client(&format!("127.0.0.1:{port}")),
            messages: first(number)..,
            // Six times as long in JSON.
            filling: "\u{1}".repeat(16 * 1024),
        }
    }

    pub fn send<E: Event + From<ChatEvent>>(&mut self, pen: &mut Pen<E>, stop: &Stop) {
        for message in self.messages.by_ref().take(60) {
            if stop.is_stopped() {
                return;
            }
            let text = format!("{message} {}", self.filling);
            attempt(&self.sender, "burst", message, &text, pen);
        }
    }
}

/// Whether the server says with this that it has not taken the message. UNAVAILABLE
/// may also be the transport's; a server on a database says which it is.
fn is_refusal(error: &Error) -> bool {
    let is_refused = matches!(error.code, Code::InvalidArgument | Code::ResourceExhausted);
    is_refused || error.message.contains("was not stored")
}

/// The last message of a run, for which all readers wait.
#[derive(Default)]
pub struct Last(Mutex<Option<u64>>);

impl Last {
    /// Sends one until it is accepted.
    pub fn send<E: Event + From<ChatEvent>>(&self, port: u16, mut pen: Pen<E>) {
        let sender = client(&format!("127.0.0.1:{port}"));
        let accepted = (1..60).find(|n| attempt(&sender, "last", *n, &text(*n, 0), &mut pen));
        let message = accepted.expect("a server that accepts when all is whole again");
        pen.note(ChatEvent::Last { message });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    /// Its number, once it is answered.
    pub fn get(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
