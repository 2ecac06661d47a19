//! `messenger jobs get`, `wait` and `prune`

use std::thread;
use std::time::{Duration, Instant};

use super::{Places, outcome};
use crate::cli::terminal::{plain, say};
use crate::cli::{Error, duration};
use crate::fanout::clock::Timestamp;
use crate::jobs::job::{Job, State};
use crate::jobs::wire::job_json;
use crate::retry::Retry;

/// Print one job as JSON, with all of its task and result
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  messenger jobs get 0a1b2c3d4e5f | jq -r .result")]
pub struct Get {
    /// Id, as `jobs send` and `jobs list` show it
    id: String,
    #[command(flatten)]
    places: Places,
}

/// Wait until jobs are over, and print their results, in the order of the ids; exits with 1
/// if one is failed or dead, or not over in time
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  messenger jobs send --id order-17 fact:20 && messenger jobs wait order-17"
)]
pub struct Wait {
    /// Ids, as `jobs send` shows them
    #[arg(required = true)]
    id: Vec<String>,
    /// Maximum wait for all of them
    #[arg(long, env = "MESSENGER_JOBS_WAIT", default_value = "60s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    places: Places,
}

/// Delete the results of jobs that are done or failed; what is queued or dead stays
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  messenger jobs prune --older-than 30d")]
pub struct Prune {
    /// Jobs that were sent longer ago
    #[arg(long, env = "MESSENGER_JOBS_OLDER_THAN", value_name = "TIME", value_parser = duration::parse)]
    older_than: Duration,
    #[command(flatten)]
    places: Places,
}

/// Waits before a job is looked at again: the store tells nobody of changes.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Get {
    pub fn run(&self) -> Result<(), Error> {
        let job = self.places.desk()?.find(&self.id)?;
        let job = job.ok_or_else(|| format!("there is no job {}", plain(&self.id)))?;
        let text = serde_json::to_string_pretty(&job_json(&job))?;
        say(&text)
    }
}

impl Wait {
    pub fn run(&self) -> Result<(), Error> {
        let desk = self.places.desk()?;
        let deadline = Instant::now() + self.timeout;
        let mut wrong = 0;
        for id in &self.id {
            let mut retry = Retry::new(FIRST_WAIT, LONGEST_WAIT);
            let job: Job = loop {
                let found = desk.find(id)?;
                if let Some(job) = found.filter(|job| job.state != State::Queued) {
                    break job;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(format!("{} is not over in time", plain(id)).into());
                }
                thread::sleep(retry.next_wait().min(left));
            };
            wrong += usize::from(job.state != State::Done);
            let (state, outcome) = (job.state.name(), outcome(&job));
            say(&format!("{} {state} {outcome}", plain(id)))?;
        }
        match wrong {
            0 => Ok(()),
            wrong => Err(format!("{wrong} of {} jobs have no result", self.id.len()).into()),
        }
    }
}

impl Prune {
    pub fn run(&self) -> Result<(), Error> {
        let age = i64::try_from(self.older_than.as_nanos()).unwrap_or(i64::MAX);
        let before = Timestamp::from_nanos(Timestamp::now().nanos().saturating_sub(age));
        let count = self.places.desk()?.prune(before)?;
        say(&format!("{count} deleted"))
    }
}
