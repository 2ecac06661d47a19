//! The ordered fan-out: the heart of every service here.
//!
//! One mutex guards the clock and the list of subscribers. Publishing takes the
//! time stamp, builds the payload once and puts it on every subscriber's channel
//! inside that one critical section: the order in which publishers pass through
//! it *is* the order of all messages. Nothing blocks inside: the channels are
//! unbounded, and the bound is kept as counts beside them, because a channel
//! that is created bounded allocates all its slots for every reader.
//!
//! A subscriber whose backlog would outgrow its capacity is a *slow consumer*:
//! it is removed on the spot, so it costs the others nothing.

use std::sync::OnceLock;

use super::clock::{Clock, Timestamp};
use super::sync::{Arc, AtomicUsize, Mutex, Ordering, Receiver, Sender, lock, unbounded};

/// The most that may wait for one subscriber, what it is writing included.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub messages: usize,
    pub bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            messages: 8192,
            bytes: 8 * 1024 * 1024,
        }
    }
}

/// A payload with its place in the order.
#[derive(Clone, Debug)]
pub struct Envelope<T> {
    pub time: Timestamp,
    /// What the payload counts for against [`Capacity::bytes`].
    pub bytes: usize,
    pub payload: T,
}

/// Why a subscription gives no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The broadcast was closed; everything published before was received.
    Closed,
    /// The backlog outgrew the capacity; what was left of it is gone.
    SlowConsumer,
    /// The subscriber's own [`Membership`] was dropped.
    Left,
}

/// The broadcast takes no more messages and no more subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A cheap handle to one ordered fan-out; clones share it.
pub struct Broadcast<T> {
    state: Arc<Mutex<State<T>>>,
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

struct State<T> {
    clock: Clock,
    /// In rising order of `id`, so that one can be found by bisection.
    subscribers: Vec<Subscriber<T>>,
    next_id: u64,
    slow_consumers: u64,
    closed: bool,
}

struct Subscriber<T> {
    id: u64,
    sender: Sender<Envelope<T>>,
    backlog: Arc<Backlog>,
}

struct Backlog {
    capacity: Capacity,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    end: OnceLock<End>,
}

impl<T: Clone> Default for Broadcast<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Broadcast<T> {
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                clock: Clock::default(),
                subscribers: Vec::new(),
                next_id: 0,
                slow_consumers: 0,
                closed: false,
            })),
        }
    }

    /// Stamps a message and puts it on every subscriber's channel.
    ///
    /// `build` gets the time stamp and returns the payload with its size in
    /// bytes; it runs once, inside the critical section, and has to be short.
    /// When this returns, the message is ordered and on the channel of every
    /// subscriber that was there.
    ///
    /// # Errors
    /// [`Closed`], and `build` was not called.
    pub fn publish(
        &self,
        now: Timestamp,
        build: impl FnOnce(Timestamp) -> (T, usize),
    ) -> Result<Timestamp, Closed> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        let time = state.clock.tick(now);
        let (payload, bytes) = build(time);
        let envelope = Envelope {
            time,
            bytes,
            payload,
        };
        let before = state.subscribers.len();
        state.subscribers.retain(|s| s.accept(&envelope));
        let removed = before - state.subscribers.len();
        state.slow_consumers += removed as u64;
        Ok(time)
    }

    /// Adds a subscriber, which gets what is published from now on.
    ///
    /// The [`Subscription`] is for the thread that reads, the [`Membership`] for
    /// whoever notices that the reader has gone.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn subscribe(
        &self,
        capacity: Capacity,
    ) -> Result<(Subscription<T>, Membership<T>), Closed> {
        let (sender, receiver) = unbounded();
        let backlog = Arc::new(Backlog {
            capacity,
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            end: OnceLock::new(),
        });
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.subscribers.push(Subscriber {
            id,
            sender,
            backlog: backlog.clone(),
        });
        let subscription = Subscription {
            receiver,
            backlog,
            held: (0, 0),
        };
        let membership = Membership {
            id,
            broadcast: self.clone(),
        };
        Ok((subscription, membership))
    }

    /// Ends every subscription with [`End::Closed`] once it has received its
    /// backlog, and refuses all that comes later. May be called again.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        for subscriber in state.subscribers.drain(..) {
            subscriber.end(End::Closed);
        }
    }

    /// How many subscribers there are now.
    pub fn subscribers(&self) -> usize {
        lock(&self.state).subscribers.len()
    }

    /// How many subscribers were removed because they were too slow.
    pub fn slow_consumers(&self) -> u64 {
        lock(&self.state).slow_consumers
    }
}

impl<T: Clone> Subscriber<T> {
    /// Puts the envelope on the channel, or returns false: remove this one.
    fn accept(&self, envelope: &Envelope<T>) -> bool {
        let Backlog {
            capacity,
            messages,
            bytes,
            ..
        } = &*self.backlog;
        // Only the reader lowers the counts, and only the holder of the lock
        // raises them, so the check cannot be overtaken by another publisher.
        if messages.load(Ordering::Acquire) + 1 > capacity.messages
            || bytes.load(Ordering::Acquire) + envelope.bytes > capacity.bytes
        {
            self.end(End::SlowConsumer);
            return false;
        }
        messages.fetch_add(1, Ordering::AcqRel);
        bytes.fetch_add(envelope.bytes, Ordering::AcqRel);
        if self.sender.send(envelope.clone()).is_err() {
            // The subscription was dropped; its membership will follow.
            self.end(End::Left);
        }
        true
    }
}

impl<T> Subscriber<T> {
    fn end(&self, end: End) {
        // Only the first reason counts.
        let _ = self.backlog.end.set(end);
    }
}

/// The reading half of a subscription; for one thread.
pub struct Subscription<T> {
    receiver: Receiver<Envelope<T>>,
    backlog: Arc<Backlog>,
    /// Messages and bytes of the batch that the reader holds.
    held: (usize, usize),
}

impl<T> Subscription<T> {
    /// Blocks until there is a message, then takes along what has queued up
    /// behind it, `most` messages in all. `batch` is emptied first.
    ///
    /// Asking for the next batch says that the previous one is done with: until
    /// then it counts against the capacity.
    ///
    /// # Errors
    /// [`End`] when there is nothing more to come; `batch` is empty then.
    pub fn recv_batch(&mut self, batch: &mut Vec<Envelope<T>>, most: usize) -> Result<(), End> {
        batch.clear();
        let (messages, bytes) = std::mem::take(&mut self.held);
        self.backlog.messages.fetch_sub(messages, Ordering::AcqRel);
        self.backlog.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if self.end() == Some(End::SlowConsumer) {
            return Err(End::SlowConsumer);
        }
        let Ok(first) = self.receiver.recv() else {
            // The sender is dropped only after the reason was set, or with the
            // membership, which sets none.
            return Err(self.end().unwrap_or(End::Left));
        };
        batch.push(first);
        while batch.len() < most {
            let Ok(next) = self.receiver.try_recv() else {
                break;
            };
            batch.push(next);
        }
        if self.end() == Some(End::SlowConsumer) {
            batch.clear();
            return Err(End::SlowConsumer);
        }
        self.held = (batch.len(), batch.iter().map(|e| e.bytes).sum());
        Ok(())
    }

    /// Why this subscription was removed, if it was. Messages that came before
    /// an [`End::Closed`] can still be received.
    pub fn end(&self) -> Option<End> {
        self.backlog.end.get().copied()
    }
}

/// A subscriber's place in the list; dropping it takes the subscriber out, and
/// its reader ends with [`End::Left`].
pub struct Membership<T> {
    id: u64,
    broadcast: Broadcast<T>,
}

impl<T> Drop for Membership<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.broadcast.state);
        if let Ok(at) = state.subscribers.binary_search_by_key(&self.id, |s| s.id) {
            state.subscribers.remove(at);
        }
    }
}

#[cfg(test)]
#[path = "broadcast_tests.rs"]
mod tests;
