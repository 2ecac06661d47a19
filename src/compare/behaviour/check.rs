//! What a check is, and what it may find instead of an answer.

use std::io;

use super::case::Case;
use crate::error::{Code, Error};
use crate::status;

/// What was observed, in short words that are the same in every run: no ports,
/// no times, no counts that depend on luck.
pub type Seen = Result<String, Trouble>;

/// Why a check came to no observation of its own.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing came until the check's time was over.
    Hang,
    /// This came instead, in short words.
    Said(String),
    /// It cannot be tried on this subject.
    Skip(String),
}

/// For [`Trouble`] in a chain of calls.
pub fn said<T>(words: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Said(words.into()))
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut,
            UnexpectedEof, WouldBlock,
        };
        match error.kind() {
            TimedOut | WouldBlock => Self::Hang,
            ConnectionRefused => Self::Said("connection refused".into()),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
                Self::Said("connection closed without an answer".into())
            }
            kind => Self::Said(kind.to_string()),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.code {
            // The only deadline is the check's own.
            Code::DeadlineExceeded => Self::Hang,
            code => Self::Said(status::name(code).into()),
        }
    }
}

/// A promise of the contract as something to try.
pub struct Check {
    /// For programs, unique among all checks.
    pub name: &'static str,
    /// What is done and looked at, one sentence.
    pub title: &'static str,
    /// What is observed where the promise is kept.
    pub expected: &'static str,
    /// How long it may take.
    pub seconds: u64,
    /// Its subject is of no use to the next check.
    pub spoils: bool,
    pub run: fn(&Case) -> Seen,
}

impl Check {
    /// A check of ten seconds that leaves its subject as it was.
    pub const fn new(
        name: &'static str,
        title: &'static str,
        expected: &'static str,
        run: fn(&Case) -> Seen,
    ) -> Self {
        Self {
            name,
            title,
            expected,
            seconds: 10,
            spoils: false,
            run,
        }
    }

    /// It may take so many seconds.
    pub const fn within(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// The next check gets another subject.
    pub const fn spoils(mut self) -> Self {
        self.spoils = true;
        self
    }
}
