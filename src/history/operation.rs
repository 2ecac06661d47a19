//! The operations of the database's threads: append and read.

use std::sync::Arc;

use super::database::{Failure, HistoryStore, Stored};
use super::entry::{self, Draft, Message, Page, Sender};
use super::executor::{Executor, Operation};
use super::wire;
use crate::budget::Hold;
use crate::error::Error;
use crate::http::Response;
use crate::metrics;

/// Appends a message. Without one it writes all the same, to see whether that works.
pub struct Append(pub Option<Draft>);

/// The answer to an append: the newest messages, the own one last. The answers of
/// one batch share their messages, each encoded as JSON once.
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
}

impl Operation for Append {
    type Answer = AppendReply;
    const TOGETHER: usize = usize::MAX;

    fn run(
        store: &mut dyn HistoryStore,
        batch: &mut Vec<Self>,
    ) -> Result<Vec<AppendReply>, Failure> {
        let real: Vec<bool> = batch.iter().map(|Append(draft)| draft.is_some()).collect();
        let drafts = batch.iter_mut().filter_map(|Append(draft)| draft.take());
        let mut drafts: Vec<_> = drafts.collect();
        let count = drafts.len();
        let stored = metrics::committing("history", || store.append(&mut drafts));
        let messages = stored.inspect_err(|_| {
            // They are run again.
            let mut drafts = drafts.into_iter();
            let places = batch.iter_mut().zip(&real).filter(|(_, real)| **real);
            places.for_each(|(Append(draft), _)| *draft = drafts.next());
        })?;
        metrics::observe(&metrics::BATCH, &[], count as f64);
        let messages: Vec<_> = messages.iter().map(wire::message).collect();
        let mut own = messages.len().saturating_sub(count)..;
        let messages = Arc::new(messages);
        let reply = |real: bool| AppendReply {
            messages: messages.clone(),
            own: if real {
                own.next().unwrap_or_default()
            } else {
                0
            },
        };
        Ok(real.into_iter().map(reply).collect())
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

    fn run(store: &mut dyn HistoryStore, batch: &mut Vec<Self>) -> Result<Vec<Found>, Failure> {
        let mut found = |read: &Self| {
            let mut found = Found::default();
            match read {
                Read::Page(page) => found.messages = store.page(*page)?,
                Read::Senders(most) => found.senders = store.senders(*most)?,
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
