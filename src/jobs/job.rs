//! A job: a task that was sent, with its state and result.

use std::borrow::Cow;

use crate::fanout::clock::Timestamp;

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits to be worked on, for the first time or again.
    Queued,
    /// Has a result.
    Done,
    /// Has an error, and cannot succeed.
    Failed,
    /// Has failed too often for other reasons, and is in the dead-letter queue.
    Dead,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Queued, Self::Done, Self::Failed, Self::Dead];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A job as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// That of its message, or one that the worker gave it; with `.1`, `.2` and
    /// so on behind it if there are several tasks in the message.
    pub id: String,
    /// At most [`MAX_BYTES`](super::task::MAX_BYTES) of it.
    pub task: Vec<u8>,
    pub state: State,
    pub result: Option<String>,
    /// Of a queued job: why the last attempt failed.
    pub error: Option<String>,
    /// How often a worker has tried; waiting for an absent server is no attempt.
    pub attempts: u32,
    pub worker: Option<String>,
    /// `None` if its producer did not say.
    pub queued_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// One that nobody has worked on yet.
    pub fn queued(id: String, task: Vec<u8>, queued_at: Option<Timestamp>) -> Self {
        Self {
            id,
            task,
            state: State::Queued,
            result: None,
            error: None,
            attempts: 0,
            worker: None,
            queued_at,
            started_at: None,
            finished_at: None,
        }
    }

    /// The task for people; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.task)
    }

    /// What lists are sorted by: when it was sent, or else first worked on.
    pub fn sent_at(&self) -> Timestamp {
        self.queued_at.or(self.started_at).unwrap_or_default()
    }
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub state: Option<State>,
    pub limit: usize,
}
