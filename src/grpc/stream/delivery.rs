//! One stream's way from its subscription to its peer: the thread's loop, the
//! short cut, and the end. The C core is a [`Peer`] here, so that all of it can be
//! tested without one.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use crate::fanout::broadcast::{End, Envelope, Membership, Pair, Subscription};
use crate::fanout::clock::Timestamp;
use crate::sync::{Arc, Condvar, Mutex, lock, unpoisoned};

/// How many messages are taken from the backlog at once. A peer for which so many
/// are waiting lags. (Few where thread interleavings are explored.)
const BATCH_MESSAGES: usize = if cfg!(feature = "shuttle") { 2 } else { 1024 };

/// Room for so many messages is kept for the next batch.
const BATCH_KEPT: usize = 64;

/// The peer has gone, or the call was cancelled.
#[derive(Debug)]
pub struct Gone;

/// What a stream needs of its call. Dropping it ends the call.
pub trait Peer: Send + 'static {
    type Message: Clone + Send + 'static;

    /// Whether the transport takes a message or the status now. If not, the task is
    /// woken when it does, and in any case when the peer goes.
    ///
    /// # Errors
    /// [`Gone`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Hands over what comes before all messages; only after [`Peer::poll_ready`].
    ///
    /// # Errors
    /// [`Gone`].
    fn send_first(&mut self, first: Self::Message) -> Result<(), Gone>;

    /// Hands over the first of the messages that wait, at least one, and returns how
    /// many; only after [`Peer::poll_ready`]. The rest follows at once, so that one
    /// system call may carry them all.
    ///
    /// # Errors
    /// [`Gone`].
    fn send(&mut self, waiting: &[Envelope<Self::Message>]) -> Result<usize, Gone>;

    /// Hands the final status over; only after [`Peer::poll_ready`]. `last` is the
    /// time of the last message that was sent.
    fn finish(&mut self, end: End, last: Option<Timestamp>);

    /// Ready when the final status is out, or the peer has gone.
    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// No message follows after so many; `end` is `None` if the peer has left. Once
    /// for each stream, and as soon as it is known.
    fn ended(&mut self, end: Option<End>, messages: u64);
}

/// One stream, shared by its thread, its task and the subscription's bell.
pub struct Delivery<P: Peer> {
    state: Mutex<State<P>>,
    /// Where the stream's thread sleeps.
    called: Condvar,
    /// The future of the call, on its completion queue's thread.
    task: Arc<AtomicWaker>,
}

struct State<P: Peer> {
    subscription: Subscription<P::Message>,
    membership: Option<Membership<P::Message>>,
    /// `None` when the call is over.
    peer: Option<P>,
    /// Sent before all else.
    first: Option<P::Message>,
    /// Taken from the subscription; what is not sent yet begins at `next`.
    batch: Vec<Envelope<P::Message>>,
    next: usize,
    /// The thread, and nobody else, takes the next batch.
    lagging: bool,
    /// Why no more messages come.
    end: Option<End>,
    /// [`Delivery::close`] was called.
    closed: bool,
    /// The final status is handed over.
    finishing: bool,
    /// Time of the last message that was sent, and how many they were.
    last: Option<Timestamp>,
    sent: u64,
}

impl<P: Peer> Delivery<P> {
    /// `first` is sent before all else. From now on the subscription's bell has the
    /// task woken by `wake`, soon and from any thread.
    pub fn new(
        (subscription, membership): Pair<P::Message>,
        peer: P,
        first: Option<P::Message>,
        wake: impl Fn(&Arc<AtomicWaker>) + Send + Sync + 'static,
    ) -> Self {
        let task = Arc::new(AtomicWaker::new());
        let woken = task.clone();
        subscription.ring(Box::new(move || wake(&woken)));
        let state = State {
            subscription,
            membership: Some(membership),
            peer: Some(peer),
            first,
            batch: Vec::new(),
            next: 0,
            lagging: false,
            end: None,
            closed: false,
            finishing: false,
            last: None,
            sent: 0,
        };
        Self {
            state: Mutex::new(state),
            called: Condvar::new(),
            task,
        }
    }

    /// The stream's thread. It delivers to a peer that lags, batch after batch, and
    /// blocks while the peer has not taken the one before: meanwhile the backlog
    /// grows. To a peer that keeps up the task delivers, and the thread sleeps.
    ///
    /// Returns when the call is over or the final status on its way. A peer that
    /// takes neither within `patience` is let go without a status.
    pub fn run(&self, patience: Duration) {
        let mut state = lock(&self.state);
        loop {
            while !state.calls_thread() {
                state = unpoisoned(self.called.wait(state));
            }
            if state.is_ending() {
                break;
            }
            // Nothing there: the peer has caught up.
            state.lagging = state.take_batch();
            self.task.wake();
        }
        let open = |state: &mut State<P>| state.peer.is_some() && !state.finishing;
        let waited = self.called.wait_timeout_while(state, patience, open);
        let (mut state, waited) = unpoisoned(waited);
        if waited.timed_out() {
            state.let_go();
            self.task.wake();
        }
    }

    /// The task: sends as far as the C core takes it. While the peer keeps up it
    /// takes the messages from the subscription itself, which is the short cut.
    /// Ready when the call is over. Never blocks.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the look, so that no bell rings in between.
        self.task.register(cx.waker());
        let mut state = lock(&self.state);
        let over = state.go_on(cx);
        if state.calls_thread() {
            self.called.notify_one();
        }
        over
    }

    /// Drops the call, whatever state it is in. Idempotent.
    pub fn abandon(&self) {
        lock(&self.state).let_go();
        self.called.notify_one();
    }

    /// Ends this one stream as if its broadcast were closed, behind the messages that it
    /// has; `note` tells the peer why. When that was done before, drops the call.
    pub fn close(&self, note: impl FnOnce(&mut P)) {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.closed, true) {
            state.let_go();
        } else if state.end.is_none()
            && let Some(peer) = &mut state.peer
        {
            note(peer);
            if let Some(membership) = &state.membership {
                membership.close();
            }
            return;
        }
        drop(state);
        self.called.notify_one();
        self.task.wake();
    }

    /// Ends this stream at once, as a slow consumer is cut: nothing that waits is sent any
    /// more, and the status follows the message that is under way. `note` tells the peer
    /// why. From any thread; never blocks.
    pub fn cut(&self, note: impl FnOnce(&mut P)) {
        let mut state = lock(&self.state);
        if state.is_ending() {
            return;
        }
        if let Some(peer) = &mut state.peer {
            note(peer);
        }
        state.first = None;
        state.end_with(End::Closed);
        state.clear_batch();
        state.membership = None;
        state.subscription.clear();
        drop(state);
        self.called.notify_one();
        self.task.wake();
    }

    /// Gives the call back instead of serving it; only before thread and task run.
    pub fn take_back(&self) -> Option<P> {
        let mut state = lock(&self.state);
        let peer = state.peer.take();
        state.let_go();
        peer
    }
}

impl<P: Peer> State<P> {
    fn calls_thread(&self) -> bool {
        self.is_ending() || (self.lagging && self.batch.is_empty())
    }

    fn is_ending(&self) -> bool {
        self.end.is_some() || self.peer.is_none()
    }

    /// Takes what has queued up; false if there is nothing, and then the next
    /// message or the end rings the bell.
    fn take_batch(&mut self) -> bool {
        if let Err(end) = self.subscription.try_batch(&mut self.batch, BATCH_MESSAGES) {
            self.end_with(end);
        }
        !self.batch.is_empty()
    }

    fn end_with(&mut self, end: End) {
        self.end = Some(end);
        if let Some(peer) = &mut self.peer {
            peer.ended(self.end, self.sent);
        }
    }

    /// Sends as far as the C core takes it.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.end.is_none() && self.subscription.end() == Some(End::SlowConsumer) {
            self.end_with(End::SlowConsumer);
            self.subscription.clear();
            self.clear_batch();
        }
        let mut woken_for_messages = false;
        loop {
            if self.batch.is_empty() && !self.lagging && self.end.is_none() {
                self.lagging = self.take_batch() && self.batch.len() == BATCH_MESSAGES;
            }
            let Some(peer) = &mut self.peer else {
                return Poll::Ready(());
            };
            if self.finishing {
                ready!(peer.poll_finished(cx));
                self.let_go();
                return Poll::Ready(());
            }
            let nothing = self.first.is_none() && self.batch.is_empty() && self.end.is_none();
            if nothing && woken_for_messages {
                // Nobody has to know when the last one is taken: that would wake the
                // task once more for each message.
                return Poll::Pending;
            }
            if ready!(peer.poll_ready(cx)).is_err() {
                self.let_go();
                return Poll::Ready(());
            }
            if nothing {
                return Poll::Pending;
            }
            if self.send().is_err() {
                self.let_go();
            }
            woken_for_messages = true;
        }
    }

    /// Sends the next messages, or the status behind the last one.
    fn send(&mut self) -> Result<(), Gone> {
        let Some(peer) = &mut self.peer else {
            return Err(Gone);
        };
        if let Some(first) = self.first.take() {
            return peer.send_first(first);
        }
        let waiting = &self.batch[self.next..];
        if waiting.is_empty() {
            if let Some(end) = self.end {
                peer.finish(end, self.last);
                self.finishing = true;
            }
            return Ok(());
        }
        let count = peer.send(waiting)?;
        self.last = Some(waiting[count - 1].time);
        self.next += count;
        self.sent += count as u64;
        if self.next == self.batch.len() {
            self.clear_batch();
        }
        Ok(())
    }

    /// Forgets the batch.
    fn clear_batch(&mut self) {
        self.batch.clear();
        self.batch.shrink_to(BATCH_KEPT);
        self.next = 0;
    }

    /// Drops the call and leaves the broadcast. Idempotent.
    fn let_go(&mut self) {
        if let Some(mut peer) = self.peer.take()
            && self.end.is_none()
        {
            peer.ended(None, self.sent);
        }
        self.membership = None;
        self.batch = Vec::new();
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
