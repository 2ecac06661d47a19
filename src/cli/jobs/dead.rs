//! `messenger jobs dead`

use std::io;
use std::time::{Duration, Instant};

use super::Places;
use super::list::print_json;
use crate::cli::terminal::{plain, print_line, say};
use crate::cli::{Error, duration};
use crate::jobs::queue::{DeadLetter, Which};
use serde_json::json;

/// List or requeue the dead-letter queue: tasks that have failed too often
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    List(List),
    Requeue(Requeue),
}

/// List dead letters with the reasons, oldest first
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  messenger jobs dead list\n  messenger jobs dead list --json")]
struct List {
    /// Print one JSON array instead of lines
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// Most dead letters to list
    #[arg(
        long,
        env = "MESSENGER_JOBS_LIMIT",
        default_value_t = 1000,
        value_name = "N"
    )]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

/// Move dead letters back to the queue, all of them or those with these ids
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  messenger jobs dead requeue\n  messenger jobs dead requeue 0a1b2c3d4e5f"
)]
struct Requeue {
    /// Ids as `jobs dead list` shows them; without any, all
    id: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
struct Common {
    /// Maximum wait for the queue, at each step
    #[arg(long, env = "MESSENGER_JOBS_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    places: Places,
}

/// How often a requeue that takes longer says how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::List(args) => args.run(),
            What::Requeue(args) => args.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<(), Error> {
        let desk = self.common.places.desk()?;
        let (limit, within) = (self.limit, self.common.timeout);
        if self.json {
            let row = |dead: DeadLetter| {
                json!({
                    "id": dead.id,
                    "task": String::from_utf8_lossy(&dead.body),
                    "reason": dead.reason,
                    "attempts": dead.attempts,
                })
            };
            return print_json(|show| Ok(desk.each_dead(limit, within, |dead| show(row(dead)))?));
        }
        let (mut out, mut printed) = (io::stdout().lock(), Ok(true));
        desk.each_dead(limit, within, |dead| {
            let line = format!(
                "{} {} ({} attempts: {})",
                dead.id.as_deref().unwrap_or("-"),
                plain(&String::from_utf8_lossy(&dead.body)),
                dead.attempts,
                plain(&dead.reason)
            );
            printed = print_line(&mut out, &line);
            matches!(printed, Ok(true))
        })?;
        Ok(printed.map(drop)?)
    }
}

impl Requeue {
    fn run(&self) -> Result<(), Error> {
        let which = match self.id.as_slice() {
            [] => Which::All,
            ids => Which::Ids(ids.to_vec()),
        };
        let desk = self.common.places.desk()?;
        let mut told = Instant::now();
        let count = desk.requeue(&which, self.common.timeout, |count| {
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                tracing::info!(count, "requeued so far");
            }
        })?;
        say(&format!("{count} requeued"))
    }
}
