//! What can go wrong, in the words of the gRPC status codes. Each transport has
//! its own table from here to its codes ([`status`](crate::status)).

use std::fmt;
use std::time::Duration;

/// The gRPC status codes that our services use or pass on.
/// Source: <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// A refusal with a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub message: String,
    /// After which time it is worth trying again, if that is known.
    pub retry_after: Option<Duration>,
    /// What a client's program may want to know besides.
    pub detail: Option<Detail>,
}

/// A protobuf message that goes with an error, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The full name of its type.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            detail: None,
        }
    }

    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// Whether a server did not let its caller in; it has done nothing of the call then.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code, Code::Unauthenticated | Code::PermissionDenied)
    }

    /// A server's error for the clients of a program in between: where the server refuses
    /// the program's token, theirs is not the one that is wrong.
    #[must_use]
    pub fn for_clients(self) -> Self {
        if !self.is_refusal() {
            return self;
        }
        let what = "the server refuses the token of this program";
        Self::unavailable(format!("{what}: {}", self.message))
    }

    /// The end of a call that its client has cancelled, or whose client has gone.
    pub fn client_left() -> Self {
        Self::new(Code::Cancelled, "the client has left")
    }

    /// The error of streams and calls at a server's shutdown.
    pub fn shutting_down() -> Self {
        Self::unavailable("shutting down")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

/// Refuses text that is longer than a limit in bytes.
///
/// # Errors
/// `InvalidArgument` that names the field and the limit.
pub fn at_most(field: &str, value: &str, limit: usize) -> Result<(), Error> {
    if value.len() <= limit {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{field}: {} bytes, the limit is {limit}",
        value.len()
    )))
}
