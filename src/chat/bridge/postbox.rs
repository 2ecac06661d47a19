//! The bridge's postbox: messages that were received and not flushed yet. Bounded;
//! when it is full, the oldest messages are dropped and counted.

use std::collections::VecDeque;
use std::time::Duration;

use crate::chat::message::Message;
use crate::sync::{Arc, Condvar, Mutex, lock, unpoisoned};

/// Bounds of the postbox.
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

/// A message, and its place among all that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    number: u64,
    pub message: Message,
}

/// What one flush took out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// In the order in which they came, which is the server's.
    pub messages: Vec<Kept>,
    /// How many older messages were dropped since the previous flush.
    pub dropped: u64,
    /// Whether messages may have been missed since the previous flush.
    pub gap: bool,
}

/// A bounded queue between the stream reader and the HTTP loop.
pub struct Postbox {
    capacity: Capacity,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    messages: VecDeque<Kept>,
    /// The place of the next one.
    next: u64,
    bytes: usize,
    dropped: u64,
    gap: bool,
    /// The flushes that wait, in order of arrival.
    line: VecDeque<Waiter>,
}

struct Waiter {
    least: usize,
    bell: Arc<Condvar>,
}

/// The place of a flush that waits, until it is dropped.
pub struct Place {
    postbox: Arc<Postbox>,
    bell: Arc<Condvar>,
}

impl Capacity {
    /// What a message takes in memory besides author and text, about.
    const OVERHEAD: usize = 128;

    /// What a full postbox takes in memory.
    pub fn memory(&self) -> usize {
        let overhead = self.messages.saturating_mul(Self::OVERHEAD);
        self.bytes.saturating_add(overhead)
    }
}

impl Flushed {
    /// What the messages take in memory.
    pub fn memory(&self) -> usize {
        let sizes = self.messages.iter().map(|kept| size(&kept.message));
        sizes.sum::<usize>() + self.messages.len() * Capacity::OVERHEAD
    }
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
        let number = contents.next;
        contents.next += 1;
        contents.messages.push_back(Kept { number, message });
        let dropped = contents.make_room(&self.capacity);
        contents.call_first(&self.capacity);
        dropped
    }

    /// Messages may have been missed: the next flush tells.
    pub fn missed(&self) {
        lock(&self.contents).gap = true;
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.size().0
    }

    /// The same, and the bytes of their authors and texts.
    pub fn size(&self) -> (usize, usize) {
        let contents = lock(&self.contents);
        (contents.messages.len(), contents.bytes)
    }

    /// Takes everything out; each message is in exactly one flush.
    pub fn flush(&self) -> Flushed {
        let mut contents = lock(&self.contents);
        contents.bytes = 0;
        Flushed {
            messages: std::mem::take(&mut contents.messages).into(),
            dropped: std::mem::take(&mut contents.dropped),
            gap: std::mem::take(&mut contents.gap),
        }
    }

    /// Puts back what could not be delivered, each message in its place among
    /// those that came since and those that other flushes have put back.
    /// Returns how many of the oldest were dropped to make room.
    pub fn put_back(&self, mut flushed: Flushed) -> u64 {
        let mut contents = lock(&self.contents);
        contents.dropped += flushed.dropped;
        contents.gap |= flushed.gap;
        let sizes = flushed.messages.iter().map(|kept| size(&kept.message));
        contents.bytes += sizes.sum::<usize>();
        flushed.messages.extend(contents.messages.drain(..));
        // Two sorted runs, which this merges in one pass.
        flushed.messages.sort_by_key(|kept| kept.number);
        contents.messages = flushed.messages.into();
        let dropped = contents.make_room(&self.capacity);
        contents.call_first(&self.capacity);
        dropped
    }

    /// Whether a flush that waits for so many messages has waited long enough. A full
    /// postbox is enough for all: more of it would be dropped.
    pub fn has(&self, least: usize) -> bool {
        lock(&self.contents).has(least, &self.capacity)
    }

    /// A place at the end of the line, for a flush of so many messages at least.
    pub fn line_up(postbox: &Arc<Self>, least: usize) -> Place {
        let (postbox, bell) = (postbox.clone(), Arc::new(Condvar::new()));
        let waiter = Waiter {
            least,
            bell: bell.clone(),
        };
        lock(&postbox.contents).line.push_back(waiter);
        Place { postbox, bell }
    }
}

impl Place {
    /// Blocks until this is the first place and its messages are there, at most so long.
    /// Whether they are: until the place is dropped, no other in the line takes them.
    pub fn wait(&self, timeout: Duration) -> bool {
        let capacity = &self.postbox.capacity;
        let waits = |contents: &mut Contents| {
            let first = contents.first(capacity);
            first.is_none_or(|first| !Arc::ptr_eq(&first.bell, &self.bell))
        };
        let contents = lock(&self.postbox.contents);
        let waited = self.bell.wait_timeout_while(contents, timeout, waits);
        !unpoisoned(waited).1.timed_out()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut contents = lock(&self.postbox.contents);
        let others = |waiter: &Waiter| !Arc::ptr_eq(&waiter.bell, &self.bell);
        contents.line.retain(others);
        contents.call_first(&self.postbox.capacity);
    }
}

impl Contents {
    fn has(&self, least: usize, capacity: &Capacity) -> bool {
        let enough = least.min(capacity.messages).max(1);
        self.messages.len() >= enough || self.dropped > 0
    }

    /// The first in the line, if it need not wait any longer.
    fn first(&self, capacity: &Capacity) -> Option<&Waiter> {
        let first = self.line.front();
        first.filter(|first| self.has(first.least, capacity))
    }

    fn call_first(&self, capacity: &Capacity) {
        if let Some(first) = self.first(capacity) {
            first.bell.notify_one();
        }
    }

    fn make_room(&mut self, capacity: &Capacity) -> u64 {
        let mut dropped = 0;
        while self.messages.len() > capacity.messages || self.bytes > capacity.bytes {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest.message);
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }
}

fn size(message: &Message) -> usize {
    message.author.len() + message.text.len()
}

#[cfg(all(test, not(feature = "shuttle")))]
#[path = "postbox_tests.rs"]
mod tests;
