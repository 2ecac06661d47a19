//! A subscriber as a publisher sees it: the sending half of its channel, and its backlog.
//! For who holds the broadcast's lock.

use super::backlog::{Backlog, End, Envelope, Wakeups};
use crate::sync::{Arc, Ordering, Sender};

pub(super) struct Subscriber<T> {
    pub(super) id: u64,
    sender: Sender<Envelope<T>>,
    pub(super) backlog: Arc<Backlog>,
    /// All that was put on the channel.
    messages: usize,
    bytes: usize,
}

impl<T> Subscriber<T> {
    pub(super) fn new(id: u64, sender: Sender<Envelope<T>>, backlog: Arc<Backlog>) -> Self {
        Self {
            id,
            sender,
            backlog,
            messages: 0,
            bytes: 0,
        }
    }
}

impl<T: Clone> Subscriber<T> {
    /// Puts the envelope on the channel; how many messages the backlog has then. `None`
    /// when that would be more than `most`, or too many bytes: remove this one.
    pub(super) fn accept(
        &mut self,
        envelope: &Envelope<T>,
        most: usize,
        wakeups: &mut Wakeups,
    ) -> Option<usize> {
        // Only the reader's side lowers what waits, and only the holder of the lock
        // raises it, so the check cannot be overtaken by a publisher.
        let (messages, bytes) = self.waiting();
        let (messages, bytes) = (messages + 1, bytes + envelope.bytes);
        if messages > most || bytes > self.backlog.capacity.bytes {
            self.set_end(End::SlowConsumer);
            wakeups.0.push(self.backlog.clone());
            return None;
        }
        self.messages = self.messages.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(envelope.bytes);
        // The reader has gone; its membership is dropped soon.
        let _ = self.sender.send(envelope.clone());
        Some(messages)
    }
}

impl<T> Subscriber<T> {
    /// Messages and bytes in the backlog, with those that the reader has taken and not
    /// written.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let Backlog {
            done_messages,
            done_bytes,
            ..
        } = &*self.backlog;
        let messages = done_messages.load(Ordering::Acquire);
        let bytes = done_bytes.load(Ordering::Acquire);
        (
            self.messages.wrapping_sub(messages),
            self.bytes.wrapping_sub(bytes),
        )
    }

    fn set_end(&self, end: End) {
        // Only the first reason counts.
        let _ = self.backlog.end.set(end);
    }

    /// Drops the sender before it rings, so that the reader finds the channel
    /// disconnected.
    pub(super) fn end(self, end: End) {
        self.set_end(end);
        drop(self.sender);
        self.backlog.ring();
    }
}
