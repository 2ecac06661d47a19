//! `GET /events`: a stream of server-sent events for each follower of the log.
//!
//! The thread "history-tail" queries the database for new messages, once for all
//! followers, and only while there are any: at once after a commit of this
//! process, and every [`LOOK`] for those of other replicas. The newest are kept in
//! a shared, bounded buffer. A follower that lags behind it reads on from the
//! database, so it misses nothing and nothing is queued for it. Each stream runs
//! on its connection's thread ("http-conn-N").

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::entry::{From, Message, Page};
use super::executor::Executor;
use super::operation::Read;
use super::wire;
use crate::error::Error;
use crate::http::{Next, Source};
use crate::retry::supervised;
use crate::sync::{lock, spawn, unpoisoned};

/// How often the database is queried for what other replicas have appended.
const LOOK: Duration = Duration::from_millis(100);

/// Minimum interval of queries, so that they do not compete with commits.
const PACE: Duration = Duration::from_millis(5);

/// Keepalive interval: a comment is sent at least so often.
const BEAT: Duration = Duration::from_secs(5);

/// The newest messages that are kept for all followers.
const KEPT: usize = 1000;
const KEPT_BYTES: usize = 4 << 20;

/// What goes out in one chunk; the second is passed by at most one message.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 256 * 1024;

/// How long a browser waits before it opens a lost stream again.
const RETRY: &str = "retry: 1000\n\n";

/// Shared by the thread "history-tail", the followers and the lanes.
pub struct Tail {
    reader: Arc<Executor<Read>>,
    state: Mutex<State>,
    /// There is something to look for: wakes the thread.
    wanted: Condvar,
    /// There is something new: wakes the followers.
    found: Condvar,
}

#[derive(Default)]
struct State {
    followers: usize,
    /// The newest number that was found.
    newest: i64,
    /// The messages up to `newest`, each with its number and encoded. None is missing
    /// that the log had when it was queried.
    kept: VecDeque<(i64, Arc<str>)>,
    /// The number that what is kept comes after.
    before: i64,
    bytes: usize,
    /// This process has committed since the last query.
    committed: bool,
    /// How many queries have failed. A failure ends all followers' streams.
    failures: u64,
    closed: bool,
}

impl State {
    fn push(&mut self, messages: &[Message]) {
        for message in messages {
            let event = encode(message);
            self.newest = message.number;
            self.bytes += event.len();
            self.kept.push_back((message.number, event));
        }
        while (self.kept.len() > KEPT || self.bytes > KEPT_BYTES)
            && let Some((number, event)) = self.kept.pop_front()
        {
            self.before = number;
            self.bytes -= event.len();
        }
    }

    /// The events after `number`. `None` if some of them are not kept.
    fn after(&self, number: i64) -> Option<impl Iterator<Item = (i64, &Arc<str>)>> {
        let first = self.kept.partition_point(|(kept, _)| *kept <= number);
        let kept = self
            .kept
            .range(first..)
            .map(|(number, event)| (*number, event));
        (number >= self.before).then_some(kept)
    }
}

fn encode(message: &Message) -> Arc<str> {
    wire::event(message.number, &wire::message(message)).into()
}

impl Tail {
    /// Starts the thread, which ends after [`Tail::close`].
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(reader: Arc<Executor<Read>>) -> std::io::Result<Arc<Self>> {
        let tail = Arc::new(Self {
            reader,
            state: Mutex::default(),
            wanted: Condvar::new(),
            found: Condvar::new(),
        });
        let work = tail.clone();
        spawn("history-tail", move || supervised(|| work.run()))?;
        Ok(tail)
    }

    /// A stream of what comes after this number, or from now on.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub fn follow(self: &Arc<Self>, after: Option<i64>) -> Result<Follower, Error> {
        let last = self.reader.page(Page::newest())?;
        let last = last.last().map_or(0, |message| message.number);
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Error::shutting_down());
        }
        if state.followers == 0 {
            // Nothing was queried since the last follower left.
            let failures = state.failures;
            *state = State {
                newest: last,
                before: last,
                failures,
                ..State::default()
            };
        }
        state.followers += 1;
        let failures = state.failures;
        drop(state);
        self.wanted.notify_one();
        // The log has lost messages, by a restored backup for instance.
        let ahead = after.is_some_and(|after| after > last);
        let mut first = RETRY.to_owned();
        if ahead {
            first += &wire::gap(last);
        }
        Ok(Follower {
            tail: self.clone(),
            after: after.filter(|_| !ahead).unwrap_or(last),
            failures,
            first,
            last_said: Instant::now(),
        })
    }

    /// To be called when this process has appended something.
    pub fn look(&self) {
        let mut state = lock(&self.state);
        if state.followers > 0 && !state.committed {
            state.committed = true;
            drop(state);
            self.wanted.notify_one();
        }
    }

    /// Ends all streams, and opens no more.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.wanted.notify_one();
        self.found.notify_all();
    }

    fn run(&self) {
        let mut last_look = Instant::now();
        let mut state = lock(&self.state);
        while !state.closed {
            let wait = if state.committed { PACE } else { LOOK };
            let left = wait.saturating_sub(last_look.elapsed());
            if state.followers == 0 {
                let woken = self.wanted.wait(state);
                state = unpoisoned(woken);
            } else if !left.is_zero() {
                let woken = self.wanted.wait_timeout(state, left);
                state = unpoisoned(woken).0;
            } else {
                let page = Page::after(state.newest, Page::MOST, Page::BYTES);
                // What is committed from here on is for the next query.
                state.committed = false;
                drop(state);
                let found = self.reader.page(page);
                last_look = Instant::now();
                state = lock(&self.state);
                match found {
                    // The followers may have gone and others come meanwhile.
                    Ok(_) if page.from != From::After(state.newest) => {}
                    Ok(messages) if messages.is_empty() => {}
                    Ok(messages) => {
                        // There may be more: the next query.
                        state.committed = true;
                        state.push(&messages);
                        self.found.notify_all();
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot query new messages; the streams end");
                        state.failures += 1;
                        self.found.notify_all();
                    }
                }
            }
        }
    }
}

/// One client's stream; dropping it leaves.
pub struct Follower {
    tail: Arc<Tail>,
    /// The last number that was sent.
    after: i64,
    /// The failed queries when it subscribed.
    failures: u64,
    /// What it begins with.
    first: String,
    last_said: Instant,
}

impl Follower {
    fn say(&mut self, text: String) -> Next {
        self.last_said = Instant::now();
        Next::Chunk(text.into_bytes())
    }

    /// What fits into one chunk; empty if there is none.
    fn take(&mut self, events: impl Iterator<Item = (i64, impl AsRef<str>)>) -> String {
        let mut text = String::new();
        for (number, event) in events.take(BATCH) {
            let event = event.as_ref();
            if !text.is_empty() && text.len() + event.len() > BATCH_BYTES {
                break;
            }
            // The numbers have no hole, but old messages may be pruned.
            if number > self.after + 1 {
                text += &wire::gone(self.after + 1, number - 1);
            }
            text += event;
            self.after = number;
        }
        text
    }
}

impl Source for Follower {
    fn next(&mut self, timeout: Duration) -> Next {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return self.say(first);
        }
        let deadline = Instant::now() + timeout;
        let tail = self.tail.clone();
        let mut state = lock(&tail.state);
        loop {
            if state.closed || state.failures != self.failures {
                return Next::End;
            }
            if self.after < state.newest {
                let Some(events) = state.after(self.after) else {
                    break;
                };
                let text = self.take(events);
                drop(state);
                return self.say(text);
            }
            let beat = BEAT.saturating_sub(self.last_said.elapsed());
            if beat.is_zero() {
                drop(state);
                return self.say(": beat\n\n".into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            let woken = tail.found.wait_timeout(state, left.min(beat));
            state = unpoisoned(woken).0;
        }
        drop(state);
        // It lags, or subscribed with an old number.
        let page = Page::after(self.after, BATCH as i64, BATCH_BYTES as i64);
        match tail.reader.page(page) {
            // The log has lost messages, by a restored backup for instance.
            Ok(messages) if messages.is_empty() => Next::End,
            Ok(messages) => {
                let text = self.take(messages.iter().map(|it| (it.number, encode(it))));
                self.say(text)
            }
            Err(_) => Next::End,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.tail.state).followers -= 1;
    }
}
