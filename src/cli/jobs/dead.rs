//! `messenger jobs dead`

use std::time::Duration;

use super::{Places, plain};
use crate::cli::{Error, duration};
use crate::jobs::queue::Which;
use serde_json::json;

/// The dead-letter queue: tasks that have failed too often
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

/// List dead tasks and why they are, oldest first
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  messenger jobs dead list\n  messenger jobs dead list --json")]
struct List {
    /// One JSON array instead of lines
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// At most so many
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

/// Send dead tasks back to the queue, all of them or those with these ids
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  messenger jobs dead requeue\n  messenger jobs dead requeue 0a1b2c3d4e5f"
)]
struct Requeue {
    /// Ids as `jobs dead list` shows them; all without any
    id: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
struct Common {
    /// How long the queue may take
    #[arg(long, env = "MESSENGER_JOBS_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    places: Places,
}

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
        let dead = desk.dead(self.limit, self.common.timeout)?;
        if self.json {
            let rows = dead.iter().map(|dead| {
                json!({
                    "id": dead.id,
                    "task": String::from_utf8_lossy(&dead.body),
                    "reason": dead.obituary.reason,
                    "attempts": dead.obituary.attempts,
                })
            });
            let rows: Vec<_> = rows.collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(());
        }
        for dead in dead {
            println!(
                "{} {} ({} attempts: {})",
                dead.id.as_deref().unwrap_or("-"),
                plain(&String::from_utf8_lossy(&dead.body)),
                dead.obituary.attempts,
                plain(&dead.obituary.reason)
            );
        }
        Ok(())
    }
}

impl Requeue {
    fn run(&self) -> Result<(), Error> {
        let which = match self.id.as_slice() {
            [] => Which::All,
            ids => Which::Ids(ids.to_vec()),
        };
        let desk = self.common.places.desk()?;
        let count = desk.requeue(&which, self.common.timeout)?;
        println!("{count} requeued");
        Ok(())
    }
}
