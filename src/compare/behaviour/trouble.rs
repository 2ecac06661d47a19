//! What a check may find instead of what is promised.

use std::io::{self, ErrorKind};

use crate::error::{Code, Error};
use crate::status;

/// Why a check did not see what is promised. Words are short and the same in every
/// run: no ports, no times, no counts that depend on luck.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing came until the check's time was over.
    Hang,
    /// This was seen instead.
    Said(String),
    /// It cannot be tried on this subject.
    Skip(String),
}

pub type Tried<T = ()> = Result<T, Trouble>;

/// For [`Trouble::Said`] in a chain of calls.
pub fn said<T>(words: impl Into<String>) -> Tried<T> {
    Err(Trouble::Said(words.into()))
}

/// Goes on if this is so; `otherwise` says what was seen if it is not.
pub fn ensure(kept: bool, otherwise: &str) -> Tried {
    if kept { Ok(()) } else { said(otherwise) }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Hang,
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
