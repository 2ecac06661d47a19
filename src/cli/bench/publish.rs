//! `messenger bench publish`

use serde_json::json;

use super::Output;
use crate::cli::Error;
use crate::compare::load::publish;

/// Measure how long publishing a message holds the fan-out's lock
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Readers; several sizes with commas
    #[arg(long, env = "MESSENGER_BENCH_READERS", default_value = "10,100,1000,10000",
          value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
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
    #[command(flatten)]
    output: Output,
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
            let (p50, p99) = (times.quantile_us(0.5), times.quantile_us(0.99));
            let each = p50 * 1e3 / f64::from(readers);
            rows.push(
                json!({"readers": readers, "p50Us": p50, "p99Us": p99, "p50NsPerReader": each}),
            );
        }
        let columns = [
            ("readers", "readers", 1.0, 0),
            ("p50 us", "p50Us", 1.0, 1),
            ("p99 us", "p99Us", 1.0, 1),
            ("p50 ns/reader", "p50NsPerReader", 1.0, 0),
        ];
        self.output.rows(rows, &columns)
    }
}
