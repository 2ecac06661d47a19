//! What the database's threads are asked to do.

use std::sync::Arc;

use super::database::{Failure, HistoryStore, Stored};
use super::entry::{self, Draft, Message, Page, Sender};
use super::executor::{Executor, Task};
use super::wire;
use crate::error::Error;

/// To append a message; the answer is the ten.
pub struct Append(pub Draft);

/// The answers of one batch: each message is written as JSON once.
pub struct Ten {
    messages: Arc<[String]>,
    own: usize,
}

impl Ten {
    /// The JSON array of the ten.
    pub fn json(&self) -> String {
        let shown = &self.messages[entry::shown(self.own)];
        wire::array(shown.iter().map(String::as_str))
    }
}

impl Task for Append {
    type Answer = Ten;
    const TOGETHER: usize = usize::MAX;

    fn run(store: &mut dyn HistoryStore, batch: Vec<Self>) -> Result<Vec<Ten>, Failure> {
        let drafts: Vec<_> = batch.into_iter().map(|Append(draft)| draft).collect();
        let count = drafts.len();
        let messages = store.append(drafts)?;
        let messages: Arc<[String]> = messages.iter().map(wire::message).collect();
        let before = messages.len().saturating_sub(count);
        let own = before..messages.len();
        Ok(own
            .map(|own| Ten {
                messages: messages.clone(),
                own,
            })
            .collect())
    }

    fn consequence(stored: Stored) -> &'static str {
        match stored {
            Stored::No => "; the message was not stored",
            Stored::Unknown => "; the message may have been stored or not",
        }
    }
}

/// To read.
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

impl Task for Read {
    type Answer = Found;
    const TOGETHER: usize = 1;

    fn run(store: &mut dyn HistoryStore, batch: Vec<Self>) -> Result<Vec<Found>, Failure> {
        let mut found = |read| {
            let mut found = Found::default();
            match read {
                Read::Page(page) => found.messages = store.page(page)?,
                Read::Senders(most) => found.senders = store.senders(most)?,
            }
            Ok(found)
        };
        let failure = |reason| Failure {
            reason,
            stored: Stored::No,
        };
        batch
            .into_iter()
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
