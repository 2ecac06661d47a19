//! What clients of a message log note.

use serde::{Deserialize, Serialize};

use crate::chaos::record::Event;

/// A message of the log; its text is known by the message's number in the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub number: i64,
    pub message: u64,
    pub sender: String,
    pub count: i64,
    /// Nanoseconds since 1970.
    pub at: i64,
}

/// Messages, pages and streams have numbers that are unique in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HistoryEvent {
    /// The call begins.
    Asked {
        message: u64,
        sender: String,
    },
    /// The same is sent again, with its key.
    Again {
        message: u64,
    },
    /// With the answer as it came.
    Answered {
        message: u64,
        number: i64,
        body: String,
    },
    /// The service says that it has not stored it.
    Refused {
        message: u64,
        status: String,
    },
    /// The call failed, and the message may be stored.
    Unknown {
        message: u64,
        status: String,
    },
    /// A page is asked for.
    Reads {
        page: u64,
        from: Place,
    },
    Read {
        page: u64,
        rows: Vec<Row>,
    },
    /// A stream of what comes after this number is asked for.
    Follows {
        stream: u64,
        after: i64,
    },
    Followed {
        stream: u64,
        row: Row,
    },
    /// By the service or by the transport.
    Ended {
        stream: u64,
        status: String,
    },
    /// The client went away.
    Left {
        stream: u64,
    },
    /// The last message of the run has this number: every follower waits for it.
    Last {
        number: i64,
    },
    /// What the table holds when all clients are gone.
    Stored {
        row: Row,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    Newest,
    Before(i64),
    After(i64),
}

impl Event for HistoryEvent {
    fn is_delivery(&self) -> bool {
        matches!(
            self,
            Self::Followed { .. } | Self::Answered { .. } | Self::Read { .. }
        )
    }

    fn tell(&self) -> String {
        match self {
            Self::Asked { message, sender } => format!("sends {message} as {sender}"),
            Self::Again { message } => format!("sends {message} again"),
            Self::Answered {
                message,
                number,
                body,
            } => format!("{message} is number {number}: {body}"),
            Self::Refused { message, status } => format!("{message} is refused: {status}"),
            Self::Unknown { message, status } => format!("{message} fails: {status}"),
            Self::Reads { page, from } => format!("page {page}: {from:?}"),
            Self::Read { page, rows } => match (rows.first(), rows.last()) {
                (Some(first), Some(last)) => {
                    format!("page {page} has {} to {}", first.number, last.number)
                }
                _ => format!("page {page} is empty"),
            },
            Self::Follows { stream, after } => format!("opens stream {stream} after {after}"),
            Self::Followed { stream, row } => format!("stream {stream} brings {row:?}"),
            Self::Ended { stream, status } => format!("stream {stream} ends: {status}"),
            Self::Left { stream } => format!("leaves stream {stream}"),
            Self::Last { number } => format!("number {number} is the last one"),
            Self::Stored { row } => format!("the table has {row:?}"),
        }
    }
}
