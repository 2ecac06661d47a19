//! Jobs as JSON for the pages.

use serde_json::{Value, json};

use super::CALL_TIMEOUT;
use crate::error::{Code, Error};
use crate::jobs::client::{Desk, Filter, Job, State};
use crate::jobs::wire::job_json;

/// The newest jobs that a page shows.
const SHOWN: usize = 100;

/// Characters of a task, a result or an error in the table.
const LENGTH: usize = 120;

/// The newest jobs in this state, or in any, as JSON; what is long is shortened.
pub fn newest(jobs: &Desk, state: Option<State>) -> Result<Value, Error> {
    let mut shown = Vec::new();
    let limit = SHOWN;
    jobs.each(Filter { state, limit }, |job| {
        shown.push(short(job));
        true
    })?;
    Ok(shown.into())
}

/// The newest jobs, and the queue's depth.
pub fn state(jobs: &Desk) -> Result<Value, Error> {
    let depth = jobs.depth(CALL_TIMEOUT)?;
    Ok(json!({
        "waiting": depth.waiting,
        "consumers": depth.consumers,
        "dead": depth.dead,
        "retried": jobs.retried()?,
        "jobs": newest(jobs, None)?,
    }))
}

/// All of one job.
pub fn whole(jobs: &Desk, id: &str) -> Result<Value, Error> {
    let job = jobs.find(id)?;
    let missing = || Error::new(Code::NotFound, "there is no such job");
    job.as_ref().map(job_json).ok_or_else(missing)
}

fn short(job: Job) -> Value {
    let mut value = job_json(&job);
    let mut shortened = false;
    for field in ["task", "result", "error"] {
        let Some(text) = value[field].as_str() else {
            continue;
        };
        let length = text.chars().count();
        if length > LENGTH {
            let start: String = text.chars().take(LENGTH).collect();
            value[field] = format!("{start}… ({length} characters)").into();
            shortened = true;
        }
    }
    value["shortened"] = shortened.into();
    value
}
