//! The thread "chat-owner": the one that appends to the table, and that follows it.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use futures_channel::mpsc;

use super::catch_up::Wanted;
use super::{Answer, BACKOFF, Command, Config, Hub, Join, TABLE, Waiting, stored, wire};
use crate::budget::Hold;
use crate::db;
use crate::db::address::Address;
use crate::db::log::{
    Appended, Entry, Epoch, Failure, From, Log as _, Page, Placed, PostgresLog, Stored,
};
use crate::error::Error;
use crate::fanout::broadcast::{Envelope, Wakeups};
use crate::fanout::clock::Timestamp;
use crate::fanout::replay::Bound;
use crate::retry::Retry;
use crate::sync::lock;
use crate::trace::{self, Point, Way};
use crate::{key, metrics};

/// How often the table is looked at, in case nobody rings.
const LOOK: Duration = Duration::from_millis(100);

/// The most messages of one batch, and the bytes that its last one passes.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;

/// The most of others' messages that are read at once; one always.
const PAGE: i64 = 4096;
const PAGE_BYTES: i64 = 1 << 20;

pub struct Owner {
    hub: Arc<Hub>,
    address: Address,
    replay: Bound,
    commands: Receiver<Command>,
    looks: Receiver<()>,
    reader: Sender<Wanted>,
    ring: mpsc::Sender<()>,
    log: Option<PostgresLog>,
    retry: Retry,
    /// Before this, it is not tried to open the database.
    not_before: Instant,
    /// Number and time of the last message that was published here.
    tail: (i64, i64),
    joins: Vec<Join>,
    /// For the next batch.
    held: Option<Waiting>,
}

impl Owner {
    pub fn new(
        hub: &Arc<Hub>,
        config: &Config,
        (commands, looks): (Receiver<Command>, Receiver<()>),
        reader: Sender<Wanted>,
        ring: mpsc::Sender<()>,
    ) -> Self {
        Self {
            hub: hub.clone(),
            address: config.address.clone(),
            replay: config.replay,
            commands,
            looks,
            reader,
            ring,
            log: None,
            retry: Retry::new(BACKOFF.0, BACKOFF.1),
            not_before: Instant::now(),
            tail: (0, 0),
            joins: Vec::new(),
            held: None,
        }
    }

    /// Until nobody can send any more, and all is answered.
    pub fn run(&mut self) {
        loop {
            let first = match &self.held {
                Some(_) => None,
                None => select! {
                    recv(self.commands) -> command => match command {
                        Ok(command) => Some(command),
                        Err(_over) => return,
                    },
                    recv(self.looks) -> _ => None,
                    default(LOOK) => None,
                },
            };
            let sends = self.take(first);
            if self.open().is_err() {
                self.refuse(sends);
            } else if let Err(error) = self.serve(sends) {
                self.log = None;
                tracing::error!(%error, "the chat's database failed; opening it again");
            }
        }
    }

    /// What has queued up, as much as goes into one batch.
    fn take(&mut self, first: Option<Command>) -> Vec<Waiting> {
        let (mut sends, mut bytes, mut keys) = (Vec::<Waiting>::new(), 0, HashSet::new());
        let mut next = first;
        while sends.len() < BATCH && bytes < BATCH_BYTES {
            let command = next.take().or_else(|| self.held.take().map(Command::Send));
            match command.or_else(|| self.commands.try_recv().ok()) {
                None => break,
                Some(Command::Join(join)) => self.joins.push(join),
                Some(Command::Send(waiting)) => {
                    let key = waiting.draft.key.clone();
                    if key.is_some_and(|key| !keys.insert(key)) {
                        // The table takes a key once: the second one finds the first there.
                        self.held = Some(waiting);
                        break;
                    }
                    bytes += waiting.draft.sender.len() + waiting.draft.text.len();
                    sends.push(waiting);
                }
            }
        }
        sends
    }

    /// Has a connection then. One try, after a pause if the last one has failed.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(&mut self) -> Result<(), db::Error> {
        self.log.take_if(|log| !log.is_open());
        if self.log.is_some() {
            return Ok(());
        }
        // Nothing tells when the database is back.
        thread::sleep(self.not_before.saturating_duration_since(Instant::now()));
        let opened = self.connect();
        self.hub.away.store(opened.is_err(), Ordering::Relaxed);
        match &opened {
            Ok(()) if self.retry.succeeded() => tracing::info!("the chat's database is back"),
            Ok(()) => {}
            Err(error) => {
                self.log = None;
                self.not_before = Instant::now() + self.retry.next_wait();
                if self.retry.is_news(error) {
                    tracing::warn!(%error, "cannot open the chat's database; trying again");
                }
            }
        }
        opened
    }

    fn connect(&mut self) -> Result<(), db::Error> {
        let mut log = PostgresLog::open(&self.address, TABLE)?;
        let epochs = log.epochs(self.tail.1)?;
        self.log = Some(log);
        let goes_on = self.goes_on(&epochs);
        *lock(&self.hub.epochs) = epochs;
        if goes_on {
            return self.follow(PAGE).map(drop);
        }
        self.begin()
    }

    /// Whether the database has all that was published here.
    fn goes_on(&self, epochs: &[Epoch]) -> bool {
        let here = lock(&self.hub.epochs);
        let is_here = |epoch: &Epoch| here.last().is_some_and(|it| it.name == epoch.name);
        let at = epochs.iter().position(is_here);
        let next = at.map(|at| epochs.get(at + 1));
        next.is_some_and(|next| next.is_none_or(|next| self.tail.1 <= next.after))
    }

    /// Follows the table from its newest messages on, as many as the replay buffer takes.
    /// Streams that were sent others end, and their readers are told of a gap.
    fn begin(&mut self) -> Result<(), db::Error> {
        let newest = self.page(Page {
            from: From::End,
            limit: i64::try_from(self.replay.messages.max(1)).unwrap_or(i64::MAX),
            bytes: i64::try_from(self.replay.bytes).unwrap_or(i64::MAX),
        })?;
        let first = newest.first().map_or((1, 1), |it| (it.number, it.sent_at));
        self.tail = (first.0 - 1, first.1 - 1);
        let messages = &self.hub.messages;
        messages.restart(Timestamp::from_nanos(self.tail.1));
        // The replay buffer is there from the first subscription on.
        drop(messages.resume(None));
        drop(self.publish(newest));
        Ok(())
    }

    fn page(&mut self, page: Page) -> Result<Vec<Entry>, db::Error> {
        self.log.as_mut().expect("opened before").page(page)
    }

    /// Publishes what comes next in the table, at most so many. False if there is nothing.
    fn follow(&mut self, most: i64) -> Result<bool, db::Error> {
        let next = self.page(Page {
            from: From::After(self.tail.0),
            limit: most.min(PAGE),
            bytes: PAGE_BYTES,
        })?;
        match next.first() {
            None => Ok(false),
            // Retention has passed this server.
            Some(first) if first.number > self.tail.0 + 1 => self.begin().map(|()| true),
            Some(_) => {
                drop(self.publish(next));
                Ok(true)
            }
        }
    }

    /// Publishes all up to this number, which is in the table.
    fn follow_to(&mut self, number: i64) -> Result<(), db::Error> {
        while self.tail.0 < number && self.follow(number - self.tail.0)? {}
        Ok(())
    }

    /// In the order of the table. Readers wait until what is returned is dropped.
    fn publish(&mut self, entries: Vec<Entry>) -> Vec<Wakeups> {
        let mut wakeups = Vec::new();
        for entry in entries {
            // What a new beginning has published already.
            if entry.number <= self.tail.0 {
                continue;
            }
            self.tail = (entry.number, entry.sent_at);
            let Envelope {
                time,
                bytes,
                payload,
            } = stored::envelope(entry);
            // Closed: it is stored all the same, and others publish it.
            let published = self.hub.messages.publish(time, |_| (payload, bytes));
            wakeups.extend(published.map(|(_, wakeups)| wakeups));
        }
        wakeups
    }

    fn serve(&mut self, sends: Vec<Waiting>) -> Result<(), db::Error> {
        let idle = sends.is_empty();
        if !idle {
            self.append(sends)?;
        }
        // Subscribers are let in behind all that was answered before they came: what there
        // was when a look found nothing more.
        while (idle || !self.joins.is_empty()) && self.follow(PAGE)? && !self.joins.is_empty() {}
        for join in mem::take(&mut self.joins) {
            self.join(join);
        }
        Ok(())
    }

    fn join(&self, join: Join) {
        let joined = self.hub.join(&join.after, |_, _| None);
        let has_gap = joined.as_ref().is_ok_and(|joined| joined.start.gap);
        let epoch = join.after.as_ref().map(|(epoch, _)| epoch.as_bytes());
        if has_gap && epoch.is_some_and(|epoch| self.hub.knows(epoch)) {
            // The table may have it.
            let _ = self.reader.send(Wanted::Join(join));
        } else {
            join.answer(joined);
        }
    }

    fn append(&mut self, sends: Vec<Waiting>) -> Result<(), db::Error> {
        let parts = sends.into_iter().map(|it| (it.draft, (it.answer, it.hold)));
        let (mut drafts, answers): (Vec<_>, Vec<_>) = parts.unzip();
        let log = self.log.as_mut().expect("opened before");
        let append = || trace::during("append", || log.append(&mut drafts));
        match metrics::committing("chat", append) {
            Ok(appended) => self.appended(appended, answers),
            Err(Failure { reason, stored }) => {
                for (answer, _) in answers {
                    answer.send(Err(unavailable(stored)));
                }
                Err(reason)
            }
        }
    }

    fn appended(
        &mut self,
        Appended { entries, placed }: Appended,
        answers: Vec<(Answer, Hold)>,
    ) -> Result<(), db::Error> {
        let new = entries.first().map(|first| first.number);
        let before = new.map_or(Ok(()), |new| self.follow_to(new - 1));
        if let Err(error) = before {
            // Stored, but not on its way from here: only who asks again may be told so.
            for (answer, _) in answers {
                answer.send(Err(unavailable(Stored::Unknown)));
            }
            return Err(error);
        }
        metrics::observe(&metrics::BATCH, &[], entries.len() as f64);
        let times: Vec<_> = entries.iter().map(|entry| entry.sent_at).collect();
        let mut span = trace::span("publish");
        let ids = times.iter().map(|time| time.cast_unsigned());
        span.arrow(Point::Step, Way::Message, ids);
        let wakeups = self.publish(entries);
        drop(span);
        let mut failed = Ok(());
        for (placed, (answer, _)) in placed.into_iter().zip(answers) {
            let time = match placed {
                Placed::New(at) => Ok(times[at]),
                Placed::Taken => Err(key::taken("author or text")),
                Placed::Known(number) => self.known(number).map_err(|error| {
                    failed = Err(error);
                    unavailable(Stored::Unknown)
                }),
            };
            let time = time.map(Timestamp::from_nanos);
            answer.send(time.map(wire::response));
        }
        if new.is_some() {
            // Full: they are about to be told.
            let _ = self.ring.try_send(());
        }
        drop(wakeups);
        failed
    }

    /// The time of a message that was sent before with its key, and is on its way from
    /// here then.
    fn known(&mut self, number: i64) -> Result<i64, db::Error> {
        metrics::add(&metrics::REPEATED, &[wire::SERVICE], 1);
        self.follow_to(number)?;
        let page = self.page(Page {
            from: From::Before(number + 1),
            limit: 1,
            bytes: 0,
        })?;
        Ok(page.first().map_or(0, |entry| entry.sent_at))
    }

    /// All that waits, since the database cannot be reached.
    fn refuse(&mut self, mut sends: Vec<Waiting>) {
        while !sends.is_empty() || !self.joins.is_empty() {
            for send in sends {
                send.answer.send(Err(unavailable(Stored::No)));
            }
            for join in mem::take(&mut self.joins) {
                join.answer(Err(Error::unavailable("the database cannot be reached")));
            }
            sends = self.take(None);
        }
    }
}

fn unavailable(stored: Stored) -> Error {
    Error::unavailable(match stored {
        Stored::No => "the database cannot be reached; the message was not stored",
        Stored::Unknown => "the database failed; the message may have been stored or not",
    })
}
