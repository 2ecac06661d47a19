//! Subscribers that come back after more than the replay buffer has: what they missed is
//! read from the table, page by page, for each when it has sent the page before.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{BACKOFF, Hub, Join, TABLE, stored};
use crate::db::Error;
use crate::db::address::Address;
use crate::db::log::{self, From, Log as _, PostgresLog};
use crate::fanout::broadcast::{Bell, Envelope, Gone, Stored};
use crate::fanout::clock::Timestamp;
use crate::grpc::method::Encoded;
use crate::retry::{Retry, supervised};
use crate::sync::spawn;

/// The most that a subscriber is given at once; one message always.
const PAGE: i64 = 1024;
const PAGE_BYTES: i64 = 64 * 1024;

/// What the reader is asked for, each subscriber one thing at a time.
pub enum Wanted {
    /// To be let in, where the replay buffer does not have the place.
    Join(Join),
    /// The messages after this number.
    Page(i64, Arc<Place>),
}

/// Where a subscriber's pages go.
pub struct Place {
    /// The time of the last message that it is to get from here.
    up_to: Timestamp,
    pages: Sender<Result<Page, Gone>>,
    bell: Bell,
}

struct Page {
    messages: Vec<Envelope<Encoded>>,
    /// The number of the last one.
    last: i64,
    is_last: bool,
}

struct CatchUp {
    place: Arc<Place>,
    pages: Receiver<Result<Page, Gone>>,
    wanted: Sender<Wanted>,
    /// The number of the last message that was taken.
    after: i64,
    asked: bool,
    over: bool,
}

impl Stored<Encoded> for CatchUp {
    fn next(&mut self, batch: &mut Vec<Envelope<Encoded>>) -> Result<bool, Gone> {
        if let Ok(page) = self.pages.try_recv() {
            let page = page?;
            (self.after, self.over, self.asked) = (page.last, page.is_last, false);
            *batch = page.messages;
        } else if self.over {
            return Ok(false);
        } else if !mem::replace(&mut self.asked, true) {
            // The reader ends only with the process.
            let _ = self
                .wanted
                .send(Wanted::Page(self.after, self.place.clone()));
        }
        Ok(true)
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
    spawn("chat-reader", move || supervised(|| reader.run()))?;
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
                // It is the only one that has it when the subscriber has left.
                Wanted::Page(after, place) => {
                    while Arc::strong_count(&place) > 1
                        && self.tried(|log| place.read(after, log)).is_none()
                    {}
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

    fn join(&mut self, mut join: Join) {
        let number = loop {
            let Some(after) = &join.after else { break None };
            if join.joined.is_canceled() {
                return;
            }
            let (time, hub) = (after.1.nanos(), self.hub.clone());
            let find = |log: &mut PostgresLog| match hub.time(after) {
                Some(_) => log.number_at(time),
                // A stream outlives its epoch. The message that it had last is there, if it
                // came later; if it is one of those that were lost, it is not.
                None => number_of(time, log),
            };
            if let Some(number) = self.tried(find) {
                break number;
            }
        };
        let time = |join: &Join| self.hub.time(join.after.as_ref()?);
        if number.is_some()
            && time(&join).is_none()
            && let Some((epoch, _)) = &mut join.after
        {
            // Found all the same: so it has a place in the order of now.
            *epoch = self.hub.epoch().to_string();
        }
        let time = time(&join);
        let wanted = self.wanted.clone();
        let joined = self.hub.join(&join.after, |up_to, bell| {
            let (after, time) = number.zip(time)?;
            let (sender, pages) = bounded(1);
            let place = Arc::new(Place {
                up_to,
                pages: sender,
                bell,
            });
            let catch_up = CatchUp {
                place,
                pages,
                wanted,
                after,
                asked: false,
                over: time == up_to,
            };
            (time <= up_to).then(|| Box::new(catch_up) as _)
        });
        join.answer(joined);
    }
}

/// The number of the message of exactly this time.
fn number_of(time: i64, log: &mut PostgresLog) -> Result<Option<i64>, Error> {
    let Some(number) = log.number_at(time)? else {
        return Ok(None);
    };
    let page = log.page(log::Page {
        from: From::Before(number + 1),
        limit: 1,
        bytes: 0,
    })?;
    let is_it = page.first().is_some_and(|it| it.sent_at == time);
    Ok(is_it.then_some(number))
}

impl Place {
    /// Reads the next page, and rings the bell.
    fn read(&self, after: i64, log: &mut PostgresLog) -> Result<(), Error> {
        let entries = log.page(log::Page {
            from: From::After(after),
            limit: PAGE,
            bytes: PAGE_BYTES,
        })?;
        let whole = entries.first().is_some_and(|it| it.number == after + 1);
        let (last, time) = entries.last().map_or((0, 0), |it| (it.number, it.sent_at));
        let messages = entries.into_iter().map(stored::envelope);
        let page = Page {
            messages: messages.filter(|it| it.time <= self.up_to).collect(),
            last,
            is_last: time >= self.up_to.nanos(),
        };
        // If it is not whole, retention has passed this subscriber.
        let _ = self.pages.try_send(whole.then_some(page).ok_or(Gone));
        (self.bell)();
        Ok(())
    }
}
