//! What the thread "stream-reader" tells the thread "http-loop" about its stream: whether
//! there is one, and how far it is.

use std::time::Duration;

use futures_util::stream::AbortHandle;

use crate::fanout::clock::Timestamp;
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, lock};

/// The stream's state, for the HTTP loop.
#[derive(Default)]
pub struct Link {
    subscribed: AtomicBool,
    /// Of the server that the last subscription went to, if that knows Subscribe.
    epoch: Mutex<Option<String>>,
    open_early: AtomicBool,
    stream: Mutex<Option<AbortHandle>>,
    /// The time of the subscription's last message that was put into the postbox.
    delivered: Mutex<Timestamp>,
    progress: Condvar,
}

impl Link {
    /// Whether a subscription is live now.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Acquire)
    }

    /// The epoch of the server, if a subscription is live that its Subscribe has answered:
    /// such a server knows idempotency keys.
    pub fn epoch(&self) -> Option<String> {
        let epoch = lock(&self.epoch).clone();
        epoch.filter(|_| self.is_subscribed())
    }

    /// To be called before [`Link::set`]; `None` for a server without Subscribe.
    pub fn set_epoch(&self, epoch: Option<&str>) {
        *lock(&self.epoch) = epoch.map(str::to_owned);
    }

    /// Whether the HTTP port was opened without a subscription: messages are missed until
    /// the first one is live.
    pub fn is_open_early(&self) -> bool {
        self.open_early.load(Ordering::Acquire)
    }

    pub fn set_open_early(&self) {
        self.open_early.store(true, Ordering::Release);
    }

    /// Blocks until the message of this time is in the postbox, at most so long,
    /// and not at all while no subscription is live.
    pub fn wait_for(&self, time: Timestamp, timeout: Duration) {
        let delivered = lock(&self.delivered);
        let missing = |delivered: &mut Timestamp| *delivered < time && self.is_subscribed();
        // On the timeout the flush takes what there is.
        drop(
            self.progress
                .wait_timeout_while(delivered, timeout, missing),
        );
    }

    /// The message of this time is in the postbox now.
    pub fn delivered(&self, time: Timestamp) {
        let mut delivered = lock(&self.delivered);
        *delivered = time.max(*delivered);
        drop(delivered);
        self.progress.notify_all();
    }

    /// A subscription is live, or none is.
    pub fn set(&self, stream: Option<AbortHandle>) {
        let live = stream.is_some();
        *lock(&self.stream) = stream;
        let mut delivered = lock(&self.delivered);
        // The server may be another one by now, whose clock is behind.
        *delivered = Timestamp::default();
        // Within the lock: whoever has looked and not slept yet hears of it.
        self.subscribed.store(live, Ordering::Release);
        drop(delivered);
        self.progress.notify_all();
    }

    /// Ends the stream, if there is one.
    pub fn abort(&self) {
        let stream = lock(&self.stream);
        if let Some(stream) = &*stream {
            stream.abort();
        }
    }
}

#[cfg(all(test, feature = "shuttle"))]
#[path = "link_tests.rs"]
mod shuttle;
