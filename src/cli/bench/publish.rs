//! `messenger bench publish`

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::cli::Error;
use crate::compare::load::publish;

/// Measure how long a message holds the fan-out's lock
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Readers; several sizes with commas
    #[arg(
        long,
        env = "MESSENGER_BENCH_READERS",
        default_value = "10,100,1000,10000",
        value_name = "N",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    readers: Vec<u32>,
    /// Messages for each size
    #[arg(
        long,
        env = "MESSENGER_BENCH_MESSAGES",
        default_value_t = 500,
        value_name = "N"
    )]
    messages: usize,
    /// Length of the text
    #[arg(
        long,
        env = "MESSENGER_BENCH_TEXT_BYTES",
        default_value_t = 100,
        value_name = "BYTES"
    )]
    text_bytes: usize,
    /// One JSON array instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench publish
  messenger bench publish --readers 50000 --json";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut rows = Vec::new();
        for &readers in &self.readers {
            let times = publish::run(readers as usize, self.messages, self.text_bytes)?;
            rows.push((readers, times.quantile_us(0.5), times.quantile_us(0.99)));
        }
        if self.json {
            let row = |(readers, p50, p99): &(u32, f64, f64)| json!({"readers": readers, "p50Us": p50, "p99Us": p99});
            let rows: Vec<Value> = rows.iter().map(row).collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "readers",
            "p50 us",
            "p99 us",
            "p50 ns/reader",
        ]);
        for (readers, p50, p99) in rows {
            table.add_row([
                readers.to_string(),
                format!("{p50:.1}"),
                format!("{p99:.1}"),
                format!("{:.0}", p50 * 1e3 / f64::from(readers)),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        Ok(())
    }
}
