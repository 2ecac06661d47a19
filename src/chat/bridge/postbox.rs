//! The bridge's postbox: what the stream reader has brought and nobody has
//! fetched yet. Bounded; the oldest messages make room, and are counted.

use std::collections::VecDeque;

use crate::chat::message::Message;
use crate::sync::{Mutex, lock};

/// The most that the postbox keeps.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub messages: usize,
    /// Bytes of author and text.
    pub bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            messages: 100_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// What one flush took out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// In server order.
    pub messages: Vec<Message>,
    /// How many older messages had to make room since the previous flush.
    pub dropped: u64,
}

/// A bounded queue between the stream reader and the HTTP loop.
pub struct Postbox {
    capacity: Capacity,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    messages: VecDeque<Message>,
    bytes: usize,
    dropped: u64,
}

impl Postbox {
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            contents: Mutex::default(),
        }
    }

    /// Puts a message behind all others. Returns how many of the oldest were
    /// dropped to make room.
    pub fn deliver(&self, message: Message) -> u64 {
        let mut contents = lock(&self.contents);
        contents.bytes += size(&message);
        contents.messages.push_back(message);
        contents.make_room(&self.capacity)
    }

    /// Takes everything out; each message is in exactly one flush.
    pub fn flush(&self) -> Flushed {
        let mut contents = lock(&self.contents);
        let taken = std::mem::take(&mut *contents);
        Flushed {
            messages: taken.messages.into(),
            dropped: taken.dropped,
        }
    }

    /// Puts back what could not be handed on, before all that came since.
    /// Returns how many of the oldest were dropped to make room.
    pub fn put_back(&self, flushed: Flushed) -> u64 {
        let mut contents = lock(&self.contents);
        contents.dropped += flushed.dropped;
        for message in flushed.messages.into_iter().rev() {
            contents.bytes += size(&message);
            contents.messages.push_front(message);
        }
        contents.make_room(&self.capacity)
    }
}

impl Contents {
    fn make_room(&mut self, capacity: &Capacity) -> u64 {
        let mut dropped = 0;
        while self.messages.len() > capacity.messages || self.bytes > capacity.bytes {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }
}

fn size(message: &Message) -> usize {
    message.author.len() + message.text.len()
}

#[cfg(test)]
#[path = "postbox_tests.rs"]
mod tests;
