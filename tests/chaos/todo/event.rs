//! What clients of a to-do list note.

use serde::{Deserialize, Serialize};

use crate::chaos::record::Event;

/// A task's id, and whether this is its completion: each happens once.
pub type Change = (i32, bool);

/// Calls and streams have numbers that are unique in a run. The title of a task is
/// the number of the call that adds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TodoEvent {
    /// The call begins.
    Asked {
        call: u64,
        ask: Ask,
    },
    Done {
        call: u64,
        answer: Answer,
    },
    /// A stream is asked for.
    Opens {
        stream: u64,
    },
    /// It is live from before this moment on.
    Registered {
        stream: u64,
    },
    Told {
        stream: u64,
        change: Change,
        title: u64,
    },
    /// By the server or by the transport.
    Ended {
        stream: u64,
        status: String,
    },
    /// The client went away.
    Left {
        stream: u64,
    },
    /// The last task of the run is answered: every stream that was live before it
    /// was asked for, and not ended or left, has to tell it.
    Last {
        id: i32,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    Add,
    Complete(i32),
    List,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Added(i32),
    Completed,
    NotFound,
    Listed(Listed),
    /// By the server, which has not made the change.
    Refused(String),
    /// The call failed after the server may have made it.
    Unknown(String),
}

/// A list in few bytes: ids from and to, and the titles that were not in the same
/// client's lists before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub there: Vec<(i32, i32)>,
    pub done: Vec<(i32, i32)>,
    pub titles: Vec<(i32, u64)>,
}

impl Listed {
    pub fn shows(&self, (id, completed): Change) -> bool {
        let ranges = if completed { &self.done } else { &self.there };
        let at = ranges.partition_point(|(_, to)| *to < id);
        ranges.get(at).is_some_and(|(from, _)| *from <= id)
    }

    /// Ids that rise, as ranges.
    pub fn ranges(ids: impl Iterator<Item = i32>) -> Vec<(i32, i32)> {
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == id => *to = id,
                _ => ranges.push((id, id)),
            }
        }
        ranges
    }

    /// How many changes lead to it.
    pub fn age(&self) -> i32 {
        let ranges = self.there.iter().chain(&self.done);
        ranges.map(|(from, to)| to - from + 1).sum()
    }

    /// The first change in it that another list lacks.
    pub fn beyond(&self, other: &Self) -> Option<Change> {
        let all = |ranges: &[(i32, i32)], completed| {
            let ids = ranges.iter().flat_map(|(from, to)| *from..=*to);
            ids.map(|id| (id, completed)).collect::<Vec<_>>()
        };
        let mut changes = all(&self.there, false);
        changes.extend(all(&self.done, true));
        changes.into_iter().find(|change| !other.shows(*change))
    }
}

impl Event for TodoEvent {
    fn is_delivery(&self) -> bool {
        let listed = |answer| matches!(answer, &Answer::Listed(_));
        matches!(self, Self::Told { .. })
            || matches!(self, Self::Done { answer, .. } if listed(answer))
    }

    fn tell(&self) -> String {
        match self {
            Self::Asked { call, ask } => format!("call {call}: {ask:?}"),
            Self::Done { call, answer } => format!("call {call} is answered: {answer:?}"),
            Self::Opens { stream } => format!("opens stream {stream}"),
            Self::Registered { stream } => format!("stream {stream} is live"),
            Self::Told {
                stream,
                change: (id, completed),
                title,
            } => {
                let what = if *completed { "completed" } else { "added" };
                format!("stream {stream} tells that {id} ({title}) was {what}")
            }
            Self::Ended { stream, status } => format!("stream {stream} ends: {status}"),
            Self::Left { stream } => format!("leaves stream {stream}"),
            Self::Last { id } => format!("{id} is the last one"),
        }
    }
}
