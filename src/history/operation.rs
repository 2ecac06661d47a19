//! The operations of the database's threads: append and read.

use std::sync::Arc;

use super::entry::{self, Draft, From, Message, Page, SHOWN, Sender};
use super::executor::{Executor, Operation};
use super::wire;
use crate::budget::Hold;
use crate::db::log::{Failure, Log, Placed, Stored};
use crate::error::Error;
use crate::http::Response;
use crate::key;
use crate::metrics;

/// Appends a message. Without one it writes all the same, to see whether that works.
pub struct Append(pub Option<Draft>);

/// The answer to an append: the newest messages, the own one last. The answers of
/// one batch share their messages, each encoded as JSON once.
#[derive(Default)]
pub struct AppendReply {
    messages: Arc<Vec<String>>,
    own: usize,
}

impl AppendReply {
    /// The messages as a JSON array. They are in memory anyway, so they count
    /// even beyond the budget: the append is done, and its answer is due.
    pub fn response(self, mut hold: Hold) -> Response {
        let shown = entry::shown(self.own);
        hold.force(self.messages[shown.clone()].iter().map(String::len).sum());
        Response::array(self.messages, shown, String::clone, hold)
    }

    /// Of these messages the last.
    fn last_of(entries: Vec<Message>) -> Self {
        Self {
            own: entries.len().saturating_sub(1),
            messages: Arc::new(encoded(&entries)),
        }
    }
}

fn encoded(entries: &[Message]) -> Vec<String> {
    entries.iter().map(wire::message).collect()
}

/// What the answer to a message showed that is in the log with this number.
fn shown_before(log: &mut dyn Log, number: i64) -> Result<AppendReply, Error> {
    let page = Page {
        from: From::Before(number + 1),
        limit: SHOWN as i64,
        bytes: i64::MAX,
    };
    let page = log.page(page).map_err(|error| {
        tracing::error!(%error, "cannot read what an earlier answer showed");
        let reason = "the database failed; the message is stored, as number";
        Error::unavailable(format!("{reason} {number}"))
    })?;
    Ok(AppendReply::last_of(page))
}

impl Operation for Append {
    type Answer = Result<AppendReply, Error>;
    const TOGETHER: usize = usize::MAX;

    fn run(log: &mut dyn Log, batch: &mut Vec<Self>) -> Result<Vec<Self::Answer>, Failure> {
        let real: Vec<bool> = batch.iter().map(|Append(draft)| draft.is_some()).collect();
        let drafts = batch.iter_mut().filter_map(|Append(draft)| draft.take());
        let mut drafts: Vec<_> = drafts.collect();
        let stored = metrics::committing("history", || log.append(&mut drafts));
        let appended = stored.inspect_err(|_| {
            // They are run again.
            let mut drafts = drafts.into_iter();
            let places = batch.iter_mut().zip(&real).filter(|(_, real)| **real);
            places.for_each(|(Append(draft), _)| *draft = drafts.next());
        })?;
        let placed = appended.placed.iter();
        let new = placed.filter(|placed| matches!(placed, Placed::New(_)));
        metrics::observe(&metrics::BATCH, &[], new.count() as f64);
        let messages = Arc::new(encoded(&appended.entries));
        let mut placed = appended.placed.into_iter();
        let mut reply = |real: bool| match real.then(|| placed.next()).flatten() {
            None => Ok(AppendReply::default()),
            Some(Placed::New(own)) => Ok(AppendReply {
                messages: messages.clone(),
                own,
            }),
            Some(Placed::Known(number)) => shown_before(log, number),
            Some(Placed::Taken) => Err(key::taken("sender or text")),
        };
        Ok(real.into_iter().map(&mut reply).collect())
    }

    fn consequence(stored: Stored) -> &'static str {
        match stored {
            Stored::No => "; the message was not stored",
            Stored::Unknown => "; the message may have been stored or not",
        }
    }
}

/// Reads a part of the log, or the senders.
pub enum Read {
    Page(Page),
    /// The senders with the most messages, at most so many.
    Senders(i64),
}

/// What was read; one of the two is empty.
#[derive(Default)]
pub struct Found {
    messages: Vec<Message>,
    senders: Vec<Sender>,
}

impl Operation for Read {
    type Answer = Found;
    const TOGETHER: usize = 1;

    fn run(log: &mut dyn Log, batch: &mut Vec<Self>) -> Result<Vec<Found>, Failure> {
        let mut found = |read: &Self| {
            let mut found = Found::default();
            match read {
                Read::Page(page) => found.messages = log.page(*page)?,
                Read::Senders(most) => found.senders = log.senders(*most)?,
            }
            Ok(found)
        };
        let failure = |reason| Failure {
            reason,
            stored: Stored::No,
        };
        batch
            .iter()
            .map(|read| found(read).map_err(failure))
            .collect()
    }

    fn consequence(_: Stored) -> &'static str {
        ""
    }
}

impl Executor<Read> {
    /// # Errors
    /// As [`Executor::ask`].
    pub fn page(&self, page: Page) -> Result<Vec<Message>, Error> {
        self.ask(Read::Page(page)).map(|found| found.messages)
    }

    /// # Errors
    /// As [`Executor::ask`].
    pub fn senders(&self, most: i64) -> Result<Vec<Sender>, Error> {
        self.ask(Read::Senders(most)).map(|found| found.senders)
    }
}
