//! A client that sends again, with the same key, what may have been accepted or not; to the
//! server of the same epoch, since another one knows nothing of its keys.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use messenger::chat::client::ChatClient;
use messenger::error::{Code, Error};
use messenger::fanout::clock::Timestamp;

use super::event::ChatEvent;
use super::senders::{TIMEOUT, first, text};
use crate::chaos::record::{Event, History, Pen};
use crate::chaos::run::Stop;
use crate::chaos::verdict::Violation;
use crate::support::rpc::client;

/// How often a message is sent at most.
const TRIES: usize = 6;

struct Sender<'a> {
    /// At servers that are one chat: each try by the next one.
    senders: Vec<ChatClient>,
    /// Of the server that was there last.
    epoch: Option<String>,
    stop: &'a Stop,
}

pub fn send<E: Event + From<ChatEvent>>(
    seed: u64,
    number: usize,
    ports: &[u16],
    mut pen: Pen<E>,
    stop: &Stop,
) {
    let mut rng = Rng::with_seed(seed ^ first(number));
    let mut it = Sender {
        senders: ports
            .iter()
            .map(|port| client(&format!("127.0.0.1:{port}")))
            .collect(),
        epoch: None,
        stop,
    };
    for message in first(number).. {
        if stop.wait(Duration::from_micros(rng.u64(..12_000))) {
            return;
        }
        let text = text(message, rng.usize(..200));
        let Some(epoch) = it.epoch() else { continue };
        pen.note(ChatEvent::Asked { message });
        let sent = it.send(message, &epoch, &text);
        pen.note(match &sent {
            Ok(time) => ChatEvent::Answered {
                message,
                time: time.nanos(),
            },
            Err(error) => ChatEvent::Unknown {
                message,
                status: error.to_string(),
            },
        });
        // Once more, though it was answered.
        if sent.is_ok()
            && rng.u8(..4) == 0
            && let Ok(time) = it.send(message, &epoch, &text)
        {
            let time = time.nanos();
            pen.note(ChatEvent::Again { message, time });
        }
    }
}

impl Sender<'_> {
    fn send(&mut self, message: u64, epoch: &str, text: &str) -> Result<Timestamp, Error> {
        let (key, author) = (message.to_string(), "with keys");
        let mut tries = 1;
        loop {
            self.senders.rotate_left(1);
            let sent = self.senders[0].send_once(Some(&key), Some(epoch), author, text, TIMEOUT);
            let failed = match sent {
                Err(error) if error.code == Code::FailedPrecondition => {
                    self.epoch = None;
                    return Err(error);
                }
                Err(error) => error,
                sent => return sent,
            };
            let pause = Duration::from_millis(20 << tries);
            if tries == TRIES || self.stop.wait(pause) {
                return Err(failed);
            }
            tries += 1;
        }
    }

    /// Asks the server for it, unless it is known.
    fn epoch(&mut self) -> Option<String> {
        if self.epoch.is_none() {
            let (stream, _) = self.senders[0].subscribe(TIMEOUT, Duration::ZERO).ok()?;
            self.epoch = Some(stream.cursor()?.epoch().to_owned());
        }
        self.epoch.clone()
    }
}

/// The promise about what such a client hears.
pub fn same_answer(history: &History<ChatEvent>) -> Result<(), Violation> {
    let mut first = HashMap::new();
    for (index, _, event) in history.events() {
        match event {
            ChatEvent::Answered { message, time } => {
                first.insert(*message, (index, *time));
            }
            ChatEvent::Again { message, time } => {
                let Some((answered, before)) = first.get(message) else {
                    continue;
                };
                if before != time {
                    let says = format!("message {message} is answered with another time");
                    return Err(Violation::new(says, [*answered, index]));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
