//! The thread "stream-reader": subscribes, puts messages into the postbox, and when the
//! stream is lost goes on behind the last message, if the server can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Config;
use super::link::Link;
use super::postbox::Postbox;
use crate::chat::client::{ChatClient, ChatStream, Cursor};
use crate::fanout::clock::Timestamp;
use crate::grpc::client::Proof;
use crate::metrics;
use crate::retry::{Retry, supervised};
use crate::sync::spawn;
use crate::trace::{self, Point, Way};

/// The first and the longest wait between two tries. A server that was restarted
/// has its bridges back within two seconds.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How long one try to subscribe may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the dropped messages are logged, as a count.
const DROPPED_PERIOD: Duration = Duration::from_secs(10);

/// How long a shutdown waits for the thread, which may be in such a try.
const JOIN_WAIT: Duration = Duration::from_secs(2);

/// The thread as an owned value.
pub struct StreamReader {
    link: Arc<Link>,
    /// Disconnected to stop the thread.
    running: Sender<()>,
    /// Disconnected by the thread at its end.
    over: Receiver<()>,
}

impl StreamReader {
    /// Starts the thread; it sends on `live` when the first subscription is live.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        config: &Config,
        client: &Arc<ChatClient>,
        postbox: &Arc<Postbox>,
        link: &Arc<Link>,
        live: Sender<()>,
    ) -> std::io::Result<Self> {
        let (running, stop) = bounded(0);
        let (over_sender, over) = bounded(0);
        let mut work = Work {
            client: client.clone(),
            postbox: postbox.clone(),
            link: link.clone(),
            settle: config.settle,
            stop,
            live,
            cursor: None,
            started: Timestamp::now(),
            heard: None,
            dropped: 0,
            dropped_logged: None,
            _over: over_sender,
        };
        spawn("stream-reader", move || supervised(|| work.run()))?;
        let link = link.clone();
        Ok(Self {
            link,
            running,
            over,
        })
    }

    /// Ends the thread; it is not waited for longer than [`JOIN_WAIT`].
    pub fn shut_down(self) {
        drop(self.running);
        self.link.abort();
        if self.over.recv_timeout(JOIN_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the stream reader is still connecting; shutting down without it");
        }
    }
}

struct Work {
    client: Arc<ChatClient>,
    postbox: Arc<Postbox>,
    link: Arc<Link>,
    settle: Duration,
    stop: Receiver<()>,
    live: Sender<()>,
    /// Where the last subscription stood, if its server can resume there.
    cursor: Option<Cursor>,
    /// When the thread was started. What was sent since may be missing if the port opened
    /// before the first subscription was live.
    started: Timestamp,
    /// The last message's time; before the first one, when the first subscription
    /// was live. What was sent since may be missing when a subscription is lost.
    heard: Option<Timestamp>,
    /// Messages that were dropped since the last line about it, and its time.
    dropped: u64,
    dropped_logged: Option<Instant>,
    _over: Sender<()>,
}

impl Work {
    fn run(&mut self) {
        self.link.set(None);
        let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
        loop {
            let (after, client) = (self.cursor.as_ref(), &self.client);
            match client.subscribe_after(after, SUBSCRIBE_TIMEOUT, self.settle) {
                Ok((stream, proof)) => {
                    retry.succeeded();
                    self.read(stream, proof);
                }
                Err(error) => {
                    let news = retry.is_news(&error);
                    if error.is_refusal() {
                        retry.slow_down();
                        if news {
                            tracing::error!(%error, "the server refuses the token of this bridge, --token-file; trying again");
                        }
                    } else if news {
                        tracing::warn!(%error, "cannot subscribe; trying again");
                    }
                }
            }
            if retry.wait(&self.stop).is_err() {
                return;
            }
        }
    }

    /// Delivers until the stream ends.
    fn read(&mut self, mut stream: ChatStream, proof: Proof) {
        // Told before the link is: a flush that finds a subscription knows of its gap.
        self.announce(&stream, proof);
        let epoch = stream.cursor().map(Cursor::epoch);
        self.link.set_epoch(epoch);
        self.link.set(Some(stream.abort_handle()));
        self.cursor = stream.cursor().cloned();
        if let Some(cursor) = &self.cursor {
            self.link.delivered(cursor.send_time());
        }
        // Only the first one is waited for.
        let _ = self.live.try_send(());
        // A stop that came before the stream could be aborted.
        let stop = self.stop.clone();
        let stopped = || stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected);
        let error = loop {
            if stopped() {
                return;
            }
            match stream.recv() {
                Ok(message) => {
                    self.deliver(message);
                    self.cursor = stream.cursor().cloned();
                }
                Err(error) => break error,
            }
        };
        self.link.set(None);
        if stopped() {
            return;
        }
        let from = self.heard.map(Timestamp::rfc3339);
        tracing::warn!(%error, from, "the subscription is lost; connecting again");
    }

    fn announce(&mut self, stream: &ChatStream, proof: Proof) {
        let until = Timestamp::now();
        match self.heard {
            None if !self.link.is_open_early() => {
                tracing::info!(?proof, "the subscription is live");
            }
            Some(_) if stream.resumed() => {
                tracing::info!("the subscription is live again; nothing was missed");
            }
            heard => {
                self.postbox.missed();
                metrics::add(&metrics::GAPS, &[], 1);
                tracing::warn!(
                    ?proof,
                    from = heard.unwrap_or(self.started).rfc3339(),
                    until = until.rfc3339(),
                    "the subscription is live again; messages sent in this window may have been missed"
                );
            }
        }
        self.heard.get_or_insert(until);
    }

    fn deliver(&mut self, message: crate::chat::message::Message) {
        let time = message.send_time;
        let mut span = trace::span("message");
        span.arrow(Point::End, Way::Message, [time.nanos().cast_unsigned()]);
        span.arrow(Point::Start, Way::Postbox, [time.nanos().cast_unsigned()]);
        self.heard = Some(time);
        let dropped = self.postbox.deliver(message);
        if dropped > 0 {
            metrics::add(&metrics::DROPPED, &["messages"], dropped);
        }
        self.dropped += dropped;
        self.link.delivered(time);
        let logged = self.dropped_logged;
        if self.dropped > 0 && logged.is_none_or(|logged| logged.elapsed() >= DROPPED_PERIOD) {
            self.dropped_logged = Some(Instant::now());
            let dropped = std::mem::take(&mut self.dropped);
            let what = "the postbox is full; the oldest messages were dropped";
            tracing::warn!(dropped, "{what}");
        }
    }
}
