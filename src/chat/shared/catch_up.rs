//! Subscribers that come back after more than the replay buffer has: what they missed is
//! read from the table, page by page, for each when it has sent the page before.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{BACKOFF, Hub, Join, TABLE, stored};
use crate::db::Error;
use crate::db::address::Address;
use crate::db::log::{From, Log as _, Page, PostgresLog};
use crate::fanout::broadcast::{Bell, Envelope, Gone, Stored};
use crate::fanout::clock::Timestamp;
use crate::grpc::method::Encoded;
use crate::retry::{Retry, supervised};
use crate::sync::lock;

/// The most that a subscriber is given at once; one message always.
const PAGE: i64 = 1024;
const PAGE_BYTES: i64 = 64 * 1024;

/// What the reader is asked for, each subscriber one thing at a time.
pub enum Wanted {
    /// To be let in, where the replay buffer does not have the place.
    Join(Join),
    Page(Weak<Place>),
}

/// How far a subscriber is.
pub struct Place {
    state: Mutex<State>,
    /// Of the last message that it is to get from here.
    up_to: Timestamp,
    bell: Bell,
}

struct State {
    /// The number of the last message that was read.
    after: i64,
    page: Result<Vec<Envelope<Encoded>>, Gone>,
    asked: bool,
    over: bool,
}

struct CatchUp {
    place: Arc<Place>,
    wanted: Sender<Wanted>,
}

impl Stored<Encoded> for CatchUp {
    fn next(&mut self, batch: &mut Vec<Envelope<Encoded>>) -> Result<bool, Gone> {
        let mut state = lock(&self.place.state);
        if state.asked {
            return Ok(true);
        }
        *batch = mem::replace(&mut state.page, Ok(Vec::new()))?;
        if batch.is_empty() && !state.over {
            state.asked = true;
            // The reader has ended only with the process.
            let _ = self.wanted.send(Wanted::Page(Arc::downgrade(&self.place)));
        }
        Ok(!(batch.is_empty() && state.over))
    }
}

/// Starts the thread "chat-reader", which ends with the process.
pub fn start(hub: Arc<Hub>, address: Address) -> io::Result<Sender<Wanted>> {
    // Bounded by the number of streams: each waits for one answer.
    let (wanted, asked) = unbounded();
    let mut reader = Reader {
        hub,
        address,
        asked,
        wanted: wanted.clone(),
        log: None,
        retry: Retry::new(BACKOFF.0, BACKOFF.1),
    };
    let thread = thread::Builder::new().name("chat-reader".into());
    thread.spawn(move || supervised(|| reader.run()))?;
    Ok(wanted)
}

struct Reader {
    hub: Arc<Hub>,
    address: Address,
    asked: Receiver<Wanted>,
    wanted: Sender<Wanted>,
    log: Option<PostgresLog>,
    retry: Retry,
}

impl Reader {
    fn run(&mut self) {
        while let Ok(wanted) = self.asked.recv() {
            match wanted {
                Wanted::Join(join) => self.join(join),
                Wanted::Page(place) => {
                    while let Some(place) = place.upgrade() {
                        if self.tried(|log| place.read(log)).is_some() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// `None` after a failure and a pause, which is to be tried again.
    fn tried<T>(&mut self, work: impl FnOnce(&mut PostgresLog) -> Result<T, Error>) -> Option<T> {
        self.log.take_if(|log| !log.is_open());
        let opened = match self.log.take() {
            Some(log) => Ok(log),
            None => PostgresLog::open(&self.address, TABLE),
        };
        match opened.and_then(|mut log| work(&mut log).map(|done| (log, done))) {
            Ok((log, done)) => {
                self.log = Some(log);
                self.retry.succeeded();
                Some(done)
            }
            Err(error) => {
                if self.retry.is_news(&error) {
                    tracing::warn!(%error, "cannot read old messages; trying again");
                }
                // Nothing tells when the database is back.
                thread::sleep(self.retry.next_wait());
                None
            }
        }
    }

    fn join(&mut self, join: Join) {
        let time = join.after.as_ref().and_then(|after| self.hub.time(after));
        let number = loop {
            let Some(time) = time else { break None };
            if join.joined.is_canceled() {
                return;
            }
            if let Some(number) = self.tried(|log| log.number_at(time.nanos())) {
                break number;
            }
        };
        let wanted = self.wanted.clone();
        let joined = self.hub.join(&join.after, |up_to, bell| {
            let (after, time) = number.zip(time)?;
            let state = State {
                after,
                page: Ok(Vec::new()),
                asked: false,
                over: time == up_to,
            };
            let place = Arc::new(Place {
                state: Mutex::new(state),
                up_to,
                bell,
            });
            (time <= up_to).then(|| Box::new(CatchUp { place, wanted }) as _)
        });
        join.answer(joined);
    }
}

impl Place {
    /// Reads the next page, and rings the bell.
    fn read(&self, log: &mut PostgresLog) -> Result<(), Error> {
        let after = lock(&self.state).after;
        let entries = log.page(Page {
            from: From::After(after),
            limit: PAGE,
            bytes: PAGE_BYTES,
        })?;
        let mut state = lock(&self.state);
        // Retention has passed this one.
        let whole = entries
            .first()
            .is_some_and(|first| first.number == after + 1);
        let last = entries.last().map_or((0, 0), |it| (it.number, it.sent_at));
        state.over = last.1 >= self.up_to.nanos();
        state.after = last.0;
        state.asked = false;
        let page = entries.into_iter().map(stored::envelope);
        let page = page.filter(|it| it.time <= self.up_to).collect();
        state.page = if whole { Ok(page) } else { Err(Gone) };
        drop(state);
        (self.bell)();
        Ok(())
    }
}
