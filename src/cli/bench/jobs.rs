//! `messenger bench jobs`

use std::path::PathBuf;

use serde_json::json;

use super::Output;
use crate::cli::Error;
use crate::compare::load::jobs::{Config, run};

/// Measure tasks per second: our workers, the Python consumer, the broker alone
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// RabbitMQ's address; without it, only the embedded queue is measured
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// An interpreter with pika and the stubs, for the Python consumer
    #[arg(long, env = "MESSENGER_TEST_PYTHON", value_name = "FILE")]
    python: Option<PathBuf>,
    /// Tasks of each measurement; a tenth of them where tasks are sent one by one
    #[arg(long, env = "MESSENGER_BENCH_TASKS", default_value_t = 20_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    tasks: u32,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench jobs
  AMQP_URL=amqp://user:password@localhost messenger bench jobs --python target/venv/bin/python";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let config = Config {
            broker: self.amqp_url.clone().filter(|url| !url.is_empty()),
            python: self.python.clone(),
            tasks: self.tasks as usize,
        };
        let mut rows = Vec::new();
        run(&config, |row| {
            tracing::info!("{}: {:.0} tasks/s", row.what, row.per_second);
            rows.push(json!({"what": row.what, "tasks": row.tasks, "perSecond": row.per_second}));
        })?;
        let columns = [
            ("", "what", 1.0, 0),
            ("tasks", "tasks", 1.0, 0),
            ("tasks/s", "perSecond", 1.0, 0),
        ];
        self.output.rows(rows, &columns)
    }
}
