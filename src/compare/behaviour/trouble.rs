//! What a check may find instead of an answer.

use std::io;

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
