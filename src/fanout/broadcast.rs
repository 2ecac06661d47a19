//! The ordered fan-out: the heart of every service here.
//!
//! One mutex guards the clock and the list of subscribers. Publishing takes the
//! time stamp, builds the payload once and puts it on every subscriber's channel
//! inside that one critical section: the order in which publishers pass through
//! it *is* the order of all messages. Nothing blocks inside: the channels are
//! unbounded, and the bound is kept as counts beside them, because a channel
//! that is created bounded allocates all its slots for every reader. The
//! bells of readers that wait are rung after the section, by whoever drops
//! [`Wakeups`].
//!
//! A subscriber whose backlog would outgrow its capacity is a *slow consumer*:
//! it is removed on the spot, so it costs the others nothing. All backlogs together
//! have a bound too: over it, who has more than its share is removed.
//!
//! Who comes back with [`Broadcast::resume`] gets what it missed from the replay
//! buffer. Its place is looked up and its channel begins inside one critical section,
//! so there is no seam: the buffer has what came before, the channel what comes after.
//!
//! # Example
//! Two threads publish at once, and both subscribers read one order:
//!
//! ```
//! use std::thread;
//!
//! use crossbeam_channel::bounded;
//! use messenger::fanout::broadcast::{Broadcast, Capacity, Closed, End, Membership, Subscription};
//! use messenger::fanout::clock::Timestamp;
//!
//! /// Reads until the end.
//! fn read((mut subscription, membership): (Subscription<String>, Membership<String>)) -> Vec<String> {
//!     let (ring, rung) = bounded(1);
//!     subscription.ring(Box::new(move || drop(ring.try_send(()))));
//!     let (mut batch, mut texts) = (Vec::new(), Vec::new());
//!     loop {
//!         match subscription.try_batch(&mut batch, 64) {
//!             // Nothing is there: the next message rings the bell.
//!             Ok(()) if batch.is_empty() => rung.recv().expect("a bell"),
//!             Ok(()) => texts.extend(batch.iter().map(|envelope| envelope.payload.clone())),
//!             Err(end) => {
//!                 assert_eq!(end, End::Closed);
//!                 drop(membership);
//!                 return texts;
//!             }
//!         }
//!     }
//! }
//!
//! let broadcast = Broadcast::new(Capacity::default());
//! let first = broadcast.subscribe()?;
//! let second = broadcast.subscribe()?;
//! let readers = [thread::spawn(|| read(first)), thread::spawn(|| read(second))];
//!
//! thread::scope(|scope| {
//!     for author in ["anna", "bert"] {
//!         let broadcast = broadcast.clone();
//!         scope.spawn(move || {
//!             for n in 1..=100 {
//!                 let text = format!("{author} {n}");
//!                 let bytes = text.len();
//!                 // Dropping the wakeups rings the bells.
//!                 let (_time, wakeups) = broadcast.publish(Timestamp::now(), |_time| (text, bytes))?;
//!                 drop(wakeups);
//!             }
//!             Ok::<(), Closed>(())
//!         });
//!     }
//! });
//! broadcast.close();
//!
//! let [first, second] = readers.map(|reader| reader.join().expect("a reader"));
//! assert_eq!(first.len(), 200);
//! assert_eq!(first, second);
//! # Ok::<(), Closed>(())
//! ```

use std::ops::Range;
use std::time::Instant;

use super::backlog::{self, Backlog};
use super::clock::{Clock, Timestamp};
use super::missed::Missed;
use super::replay::{Bound, Replay};
use super::subscriber::Subscriber;
use crate::error::Error;
use crate::sync::{Arc, Mutex, Ordering, Receiver, TryRecvError, lock, unbounded};

pub use super::backlog::{Bell, Capacity, End, Envelope, Wakeups};
pub use super::missed::{Gone, Stored};

/// About what a message takes on one subscriber's channel; the payload is shared.
const ENVELOPE_BYTES: usize = 64;

/// The broadcast takes no more messages and no more subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Self::shutting_down()
    }
}

/// A subscriber: the half that reads, and its place in the list.
pub type Pair<T> = (Subscription<T>, Membership<T>);

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The subscriber gets all messages after this time.
    pub position: Timestamp,
    /// What it asked for is not there any more: it begins with what is live.
    pub gap: bool,
}

/// A cheap handle to one ordered fan-out; clones share it.
pub struct Broadcast<T> {
    capacity: Capacity,
    replay: Bound,
    state: Arc<Mutex<State<T>>>,
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self {
            capacity: self.capacity,
            replay: self.replay,
            state: self.state.clone(),
        }
    }
}

struct State<T> {
    clock: Clock,
    /// In rising order of `id`, so that one can be found by bisection.
    subscribers: Vec<Subscriber<T>>,
    next_id: u64,
    /// Messages in all backlogs after the last publish: since then at most fewer.
    waiting: usize,
    published: u64,
    /// Since the first subscriber that may come back.
    replay: Option<Replay<T>>,
    slow_consumers: u64,
    closed: bool,
}

impl<T: Clone> Broadcast<T> {
    /// The backlog of each subscriber is of this capacity.
    pub fn new(capacity: Capacity) -> Self {
        Self::with_replay(capacity, Bound::default())
    }

    /// The replay buffer has this bound, and begins with the first [`Broadcast::resume`].
    pub fn with_replay(capacity: Capacity, replay: Bound) -> Self {
        Self {
            capacity,
            replay,
            state: Arc::new(Mutex::new(State {
                clock: Clock::default(),
                subscribers: Vec::new(),
                next_id: 0,
                waiting: 0,
                published: 0,
                replay: None,
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
    /// subscriber that was there; the bells of those that wait are rung by
    /// [`Wakeups`].
    ///
    /// # Errors
    /// [`Closed`], and `build` was not called.
    pub fn publish(
        &self,
        now: Timestamp,
        build: impl FnOnce(Timestamp) -> (T, usize),
    ) -> Result<(Timestamp, Wakeups), Closed> {
        let mut wakeups = Wakeups::default();
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
        // Somebody has at least the share when all together have too much.
        let together = self.capacity.together / ENVELOPE_BYTES;
        let most = if state.waiting < together {
            self.capacity.messages
        } else {
            self.capacity.messages.min(together / before.max(1)).max(1)
        };
        let mut waiting = 0;
        state.subscribers.retain_mut(|subscriber| {
            let accepted = subscriber.accept(&envelope, most, &mut wakeups);
            waiting += accepted.unwrap_or(0);
            accepted.is_some()
        });
        backlog::sent();
        let idle = state.subscribers.iter().filter(|it| it.backlog.disarm());
        wakeups.0.extend(idle.map(|it| it.backlog.clone()));
        state.waiting = waiting;
        state.published += 1;
        let removed = before - state.subscribers.len();
        state.slow_consumers += removed as u64;
        if let Some(replay) = &mut state.replay {
            replay.keep(envelope, Instant::now());
        }
        Ok((time, wakeups))
    }

    /// Adds a subscriber, which gets what is published from now on.
    ///
    /// The [`Subscription`] is for the thread that reads, the [`Membership`] for
    /// the one that writes to the peer and notices when it has gone.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn subscribe(&self) -> Result<Pair<T>, Closed> {
        let (pair, ()) = self.join(|_, _| (Missed::NONE, ()))?;
        Ok(pair)
    }

    /// As [`Broadcast::subscribe`], for a subscriber that has everything up to the time
    /// `after`, if that is given: it gets all that came since, or is told of a gap. What
    /// it missed does not count in its backlog, but is read as long as the replay buffer
    /// has it: who reads more slowly is a slow consumer.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn resume(&self, after: Option<Timestamp>) -> Result<(Pair<T>, Start), Closed> {
        self.resume_with(after, |_, _| None)
    }

    /// As [`Broadcast::resume`]; what the replay buffer does not have is read from what
    /// `stored` returns for a time, and the bell to ring: all between `after` and that
    /// time, inclusive, or a gap. It runs inside the critical section.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn resume_with(
        &self,
        after: Option<Timestamp>,
        stored: impl FnOnce(Timestamp, Bell) -> Option<Box<dyn Stored<T>>>,
    ) -> Result<(Pair<T>, Start), Closed> {
        self.join(|state, backlog| {
            let (published, last) = (state.published, state.clock.last());
            let replay = state
                .replay
                .get_or_insert_with(|| Replay::new(self.replay, published, last));
            let missed = after.and_then(|time| {
                let kept = replay.after(time, Instant::now()).map(Missed::Kept);
                let bell = || Box::new(move || backlog.ring());
                let stored = || stored(last, bell()).map(Missed::Stored);
                Some((kept.or_else(stored)?, time))
            });
            let gap = after.is_some() && missed.is_none();
            let (missed, position) = missed.unwrap_or((Missed::NONE, last));
            (missed, Start { position, gap })
        })
    }

    /// Adds a subscriber that begins with what `place` returns.
    fn join<R>(
        &self,
        place: impl FnOnce(&mut State<T>, Arc<Backlog>) -> (Missed<T>, R),
    ) -> Result<(Pair<T>, R), Closed> {
        let (sender, receiver) = unbounded();
        let backlog = Arc::new(Backlog::new(self.capacity));
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        let id = state.next_id;
        state.next_id += 1;
        let subscriber = Subscriber::new(id, sender, backlog.clone());
        state.subscribers.push(subscriber);
        let (missed, told) = place(&mut state, backlog.clone());
        drop(state);
        let subscription = Subscription {
            id,
            receiver,
            backlog,
            broadcast: self.clone(),
            missed,
            taken: (0, 0),
        };
        let broadcast = self.clone();
        Ok(((subscription, Membership { id, broadcast }), told))
    }

    /// Ends every subscription with [`End::Closed`] once it has received its
    /// backlog, and refuses all that comes later. May be called again.
    pub fn close(&self) {
        let ended = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.subscribers)
        };
        for subscriber in ended {
            subscriber.end(End::Closed);
        }
    }

    /// Ends every subscription with [`End::Restarted`], and goes on behind this time as if
    /// nothing had been published: what comes then has no connection to what came before.
    pub fn restart(&self, after: Timestamp) {
        let ended = {
            let mut state = lock(&self.state);
            (state.clock, state.replay) = (Clock::from(after), None);
            std::mem::take(&mut state.subscribers)
        };
        for subscriber in ended {
            subscriber.end(End::Restarted);
        }
    }

    /// How many subscribers there are now.
    pub fn subscribers(&self) -> usize {
        lock(&self.state).subscribers.len()
    }

    /// How many messages were published.
    pub fn published(&self) -> u64 {
        lock(&self.state).published
    }

    /// The bytes in all backlogs together; a payload counts once for each of them.
    pub fn backlog_bytes(&self) -> usize {
        let state = lock(&self.state);
        let waiting = state.subscribers.iter().map(Subscriber::waiting);
        waiting.map(|(_, bytes)| bytes).sum()
    }

    /// How many subscribers were removed because they were too slow.
    pub fn slow_consumers(&self) -> u64 {
        lock(&self.state).slow_consumers
    }
}

impl<T: Clone> Broadcast<T> {
    /// The next of these messages from the replay buffer.
    fn replay(
        &self,
        numbers: &mut Range<u64>,
        batch: &mut Vec<Envelope<T>>,
        most: usize,
    ) -> Result<bool, Gone> {
        let state = lock(&self.state);
        let read = |replay: &Replay<T>| replay.read(numbers, batch, most);
        let read = state.replay.as_ref().is_some_and(read);
        read.then_some(true).ok_or(Gone)
    }
}

impl<T> Broadcast<T> {
    /// Takes out one subscriber, if it is still there.
    fn remove(&self, id: u64, end: End) {
        let mut state = lock(&self.state);
        if let Ok(at) = state.subscribers.binary_search_by_key(&id, |s| s.id) {
            let subscriber = state.subscribers.remove(at);
            drop(state);
            subscriber.end(end);
        }
    }
}

/// The reading half of a subscription; for one thread.
pub struct Subscription<T> {
    id: u64,
    receiver: Receiver<Envelope<T>>,
    backlog: Arc<Backlog>,
    broadcast: Broadcast<T>,
    /// Still to be read, before what is on the channel.
    missed: Missed<T>,
    /// Messages and bytes of the last batch, which still count in the backlog.
    taken: (usize, usize),
}

impl<T: Clone> Subscription<T> {
    /// Takes what has queued up, `most` messages at most; never blocks. `batch` is
    /// emptied first; what is in it then counts against the capacity until the next
    /// call, for which it has to be written. If nothing is there, the next message or
    /// the end rings the bell.
    ///
    /// # Errors
    /// [`End`] when there is nothing more to come; `batch` is empty then.
    pub fn try_batch(&mut self, batch: &mut Vec<Envelope<T>>, most: usize) -> Result<(), End> {
        batch.clear();
        self.release();
        if let (Missed::Stored(_), Some(end)) = (&self.missed, self.end()) {
            // The pages may be long in coming: its reader goes on elsewhere.
            self.clear();
            return Err(end);
        }
        if self.end() != Some(End::SlowConsumer) {
            let missed = match &mut self.missed {
                Missed::Kept(numbers) if numbers.is_empty() => Ok(false),
                Missed::Kept(numbers) => self.broadcast.replay(numbers, batch, most),
                Missed::Stored(stored) => stored.next(batch),
            };
            match missed {
                Ok(true) => return Ok(()),
                Ok(false) => self.missed = Missed::NONE,
                Err(Gone) => return Err(self.lose()),
            }
        }
        // A message may come after the look, so look again with the bell armed.
        for armed in [false, true] {
            if armed {
                self.backlog.arm();
            }
            let connected = self.take_queued(batch, most);
            if self.end() == Some(End::SlowConsumer) {
                batch.clear();
                return Err(End::SlowConsumer);
            }
            if !batch.is_empty() {
                let bytes = batch.iter().map(|envelope| envelope.bytes).sum();
                self.taken = (batch.len(), bytes);
                return Ok(());
            }
            if !connected {
                // The sender is dropped after the reason was set, or with the
                // membership, which sets none.
                return Err(self.end().unwrap_or(End::Left));
            }
        }
        Ok(())
    }

    /// Makes room in the backlog: what was taken has been written.
    fn release(&mut self) {
        let (messages, bytes) = std::mem::take(&mut self.taken);
        if messages > 0 {
            let Backlog {
                done_messages,
                done_bytes,
                ..
            } = &*self.backlog;
            done_messages.fetch_add(messages, Ordering::AcqRel);
            done_bytes.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    /// The channel goes on behind what is lost.
    fn lose(&mut self) -> End {
        lock(&self.broadcast.state).slow_consumers += 1;
        self.broadcast.remove(self.id, End::SlowConsumer);
        self.clear();
        End::SlowConsumer
    }

    /// Drops what has queued up, so that a slow consumer that is cut holds nothing.
    pub fn clear(&mut self) {
        self.missed = Missed::NONE;
        while self.receiver.try_recv().is_ok() {}
    }

    /// Calls `bell` from now on; to be set before the first look. Only the first
    /// call has an effect.
    pub fn ring(&self, bell: Bell) {
        let _ = self.backlog.bell.set(bell);
    }

    /// Returns whether more may come.
    fn take_queued(&self, batch: &mut Vec<Envelope<T>>, most: usize) -> bool {
        while batch.len() < most {
            match self.receiver.try_recv() {
                Ok(envelope) => batch.push(envelope),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
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

impl<T> Membership<T> {
    /// Ends this one subscription as [`Broadcast::close`] ends all: its reader gets its
    /// backlog, and then [`End::Closed`]. May be called again.
    pub fn close(&self) {
        self.broadcast.remove(self.id, End::Closed);
    }
}

impl<T> Drop for Membership<T> {
    fn drop(&mut self) {
        self.broadcast.remove(self.id, End::Left);
    }
}

#[cfg(test)]
#[path = "broadcast_tests.rs"]
mod tests;
