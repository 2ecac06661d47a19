//! `messenger bench jobs`

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::cli::Error;
use crate::compare::load::jobs::{Config, Row, run};

/// Measure tasks per second: our workers, the Python consumer, the broker alone
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The broker; without it, only the embedded queue is measured
    #[arg(long, env = "AMQP_URL", value_name = "URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// An interpreter with pika and the stubs, for the Python consumer
    #[arg(long, env = "MESSENGER_TEST_PYTHON", value_name = "FILE")]
    python: Option<PathBuf>,
    /// Tasks of each measurement, a tenth of them where there is one at a time
    #[arg(long, env = "MESSENGER_BENCH_TASKS", default_value_t = 20_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    tasks: u32,
    /// One JSON array instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
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
            tracing::info!("{}: {:.0} tasks/s", row.what, row.per_second());
            rows.push(row);
        })?;
        if self.json {
            let rows: Vec<Value> = rows.iter().map(row).collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(());
        }
        let mut table = Table::new();
        let header = ["", "tasks", "tasks/s"];
        table.load_style(presets::NOTHING).set_header(header);
        for row in rows {
            let rate = format!("{:.0}", row.per_second());
            table.add_row([row.what.to_owned(), row.tasks.to_string(), rate]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        Ok(())
    }
}

fn row(row: &Row) -> Value {
    json!({"what": row.what, "tasks": row.tasks, "perSecond": row.per_second()})
}
