//! What clients of bridges note, and what a bridge logs.

use serde::{Deserialize, Serialize};

use crate::chaos::chat::event::ChatEvent;
use crate::chaos::record::Event;

/// A flush by its number, which is unique in a run. A send through a bridge is a
/// [`ChatEvent`], like one at the server; its number says through which bridge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BridgeEvent {
    Chat(ChatEvent),
    /// A flush is asked for: past all links, or not.
    Flushes {
        flush: u64,
        bridge: usize,
        direct: bool,
    },
    /// This message is in it; the answer has come whole.
    Flushed {
        flush: u64,
        message: u64,
        time: i64,
    },
    /// It tells that messages may be missing.
    Gap {
        flush: u64,
    },
    /// That was all, and so many were dropped.
    Took {
        flush: u64,
        dropped: u64,
        subscribed: bool,
    },
    /// The bridge says that it has not been done.
    Refused {
        flush: u64,
        status: u16,
    },
    /// The client has certainly not taken the answer.
    Torn {
        flush: u64,
    },
    /// Nothing or not all has come, and the bridge may not know.
    Unclear {
        flush: u64,
        why: String,
    },
    /// The bridge logs that its first subscription is live.
    Live {
        bridge: usize,
    },
    Lost {
        bridge: usize,
    },
    /// It is live again, and nothing was missed.
    Resumed {
        bridge: usize,
    },
    /// It is live again; messages from this time on may be missing. The same time
    /// also by the clock of the run, in case that the bridge's clock gave it.
    Again {
        bridge: usize,
        from: i64,
        since: u64,
    },
    /// Its clients have stopped. They should have seen what was sent after the faults.
    Over {
        bridge: usize,
    },
}

impl From<ChatEvent> for BridgeEvent {
    fn from(event: ChatEvent) -> Self {
        Self::Chat(event)
    }
}

impl Event for BridgeEvent {
    fn is_delivery(&self) -> bool {
        match self {
            Self::Chat(event) => event.is_delivery(),
            _ => matches!(self, Self::Flushed { .. }),
        }
    }

    fn tell(&self) -> String {
        match self {
            Self::Chat(event) => event.tell(),
            Self::Flushes { flush, bridge, .. } => format!("flushes bridge {bridge}: {flush}"),
            Self::Flushed {
                flush,
                message,
                time,
            } => format!("flush {flush} has {message} of {time}"),
            Self::Took {
                flush,
                dropped,
                subscribed,
            } => format!("flush {flush} is done; dropped: {dropped}; subscribed: {subscribed}"),
            Self::Refused { flush, status } => format!("flush {flush} is refused: {status}"),
            Self::Torn { flush } => format!("flush {flush} is not taken"),
            Self::Unclear { flush, why } => format!("flush {flush} fails: {why}"),
            Self::Live { bridge } => format!("bridge {bridge} is subscribed"),
            Self::Lost { bridge } => format!("bridge {bridge} has lost its subscription"),
            Self::Gap { flush } => format!("flush {flush} tells of a gap"),
            Self::Resumed { bridge } => format!("bridge {bridge} goes on where it was"),
            Self::Again { bridge, from, .. } => {
                format!("bridge {bridge} is subscribed again; missing from {from} on")
            }
            Self::Over { bridge } => format!("the clients of bridge {bridge} are done"),
        }
    }
}
