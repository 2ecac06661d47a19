//! What clients of the jobs note.

use serde::{Deserialize, Serialize};

use crate::chaos::record::Event;

/// A task by its number, which is unique in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JobsEvent {
    /// It is about to be sent.
    Asked { task: u64 },
    /// The queue has it.
    Confirmed { task: u64 },
    /// By the sender, which has not sent it.
    Refused { task: u64 },
    /// The queue may have it or not.
    Unknown { task: u64, why: String },
    /// A list shows a job for the first time, or otherwise than before.
    Listed(Listed),
    /// A list does not show a job any more.
    Gone { id: String, task: u64 },
    /// A plain Python consumer says so, and stores nothing.
    Printed { task: u64, result: String },
    /// In the dead-letter queue, at the end of the run.
    Buried { task: u64, reason: String },
    /// A program, by itself or so long after SIGTERM.
    Ended {
        program: String,
        code: i32,
        asked: Option<u64>,
    },
    /// Also those that last longer than the plan says.
    FaultsOver,
    /// Every confirmed task is over, and nothing waits.
    Settled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub id: String,
    pub task: u64,
    pub state: String,
    /// The result or the error of a job that is over.
    pub outcome: String,
}

impl Listed {
    pub fn is_over(&self) -> bool {
        self.state != "queued"
    }
}

impl Event for JobsEvent {
    fn is_delivery(&self) -> bool {
        matches!(
            self,
            Self::Listed(_) | Self::Printed { .. } | Self::Buried { .. }
        )
    }

    fn tell(&self) -> String {
        match self {
            Self::Asked { task } => format!("sends {task}"),
            Self::Confirmed { task } => format!("{task} is confirmed"),
            Self::Refused { task } => format!("{task} is refused"),
            Self::Unknown { task, why } => format!("{task} is not confirmed: {why}"),
            Self::Listed(job) => {
                let (id, task, state) = (&job.id, job.task, &job.state);
                format!("lists {task} as {id}, {state}: {}", job.outcome)
            }
            Self::Gone { id, task } => format!("does not list {task} as {id} any more"),
            Self::Printed { task, result } => format!("prints {task} -> {result}"),
            Self::Buried { task, reason } => format!("finds {task} among the dead: {reason}"),
            Self::Ended {
                program,
                code,
                asked: Some(ms),
            } => format!("{program} ends with {code}, {ms} ms after SIGTERM"),
            Self::Ended { program, code, .. } => format!("{program} ends by itself with {code}"),
            Self::FaultsOver => "all faults are over".into(),
            Self::Settled => "all is settled".into(),
        }
    }
}
