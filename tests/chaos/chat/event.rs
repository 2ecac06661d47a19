//! What clients of a chat note.

use serde::{Deserialize, Serialize};

use crate::chaos::record::Event;

/// A message by its number, which is unique in a run, and a stream likewise. Times
/// are the server's, in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ChatEvent {
    /// The call begins.
    Asked {
        message: u64,
    },
    Answered {
        message: u64,
        time: i64,
    },
    /// The answer to the same message, sent once more with its key.
    Again {
        message: u64,
        time: i64,
    },
    /// By the server, which has not taken it.
    Refused {
        message: u64,
        status: String,
    },
    /// The call failed after the server may have taken it.
    Unknown {
        message: u64,
        status: String,
    },
    /// A stream is asked for, over a link that fails or without.
    Opens {
        stream: u64,
        direct: bool,
    },
    /// It is live from before this moment on.
    Registered {
        stream: u64,
    },
    Delivered {
        stream: u64,
        message: u64,
        time: i64,
    },
    /// Its client takes nothing for a while, not for the first time perhaps.
    Pauses {
        stream: u64,
    },
    /// Its client, which wants to go on where it was, is told that it cannot.
    Gap {
        stream: u64,
    },
    /// By the server or by the transport.
    Ended {
        stream: u64,
        end: End,
    },
    /// The client went away.
    Left {
        stream: u64,
    },
    /// The last message of the run has been answered: every stream that was live
    /// before it was asked for, and not ended or left, has to deliver it.
    Last {
        message: u64,
    },
    /// What the table of several servers holds when all clients are gone, in its order.
    Stored {
        message: u64,
        time: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum End {
    /// As a slow consumer, which was told this last time, if there was one.
    Cut {
        last: Option<i64>,
    },
    /// The server shuts down in order.
    Shutdown,
    Lost(String),
}

impl Event for ChatEvent {
    fn is_delivery(&self) -> bool {
        matches!(self, Self::Delivered { .. })
    }

    fn tell(&self) -> String {
        match self {
            Self::Asked { message } => format!("sends {message}"),
            Self::Answered { message, time } => format!("{message} is accepted at {time}"),
            Self::Again { message, time } => format!("{message} is known, accepted at {time}"),
            Self::Refused { message, status } => format!("{message} is refused: {status}"),
            Self::Unknown { message, status } => format!("{message} fails: {status}"),
            Self::Opens { stream, direct } => {
                let over = if *direct { "no link" } else { "a link" };
                format!("opens stream {stream} over {over}")
            }
            Self::Registered { stream } => format!("stream {stream} is live"),
            Self::Delivered {
                stream,
                message,
                time,
            } => format!("stream {stream} delivers {message} of {time}"),
            Self::Pauses { stream } => format!("pauses on stream {stream}"),
            Self::Gap { stream } => format!("stream {stream} cannot go on where it was"),
            Self::Ended { stream, end } => format!("stream {stream} ends: {end:?}"),
            Self::Left { stream } => format!("leaves stream {stream}"),
            Self::Last { message } => format!("{message} is the last one"),
            Self::Stored { message, time } => format!("the table has {message} of {time}"),
        }
    }
}
