//! `messenger bench fanout`

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

use crate::bench::fanout::{Config, Report, run};
use crate::cli::Error;

/// Measure the fan-out: deliveries per second and server CPU per delivery
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Readers, each on a connection of its own; may be repeated
    #[arg(
        long,
        env = "MESSENGER_BENCH_READERS",
        default_value = "100",
        value_name = "N",
        value_delimiter = ','
    )]
    readers: Vec<usize>,
    /// Messages for each reader
    #[arg(
        long,
        env = "MESSENGER_BENCH_MESSAGES",
        default_value_t = 20_000,
        value_name = "N"
    )]
    messages: u64,
    /// Length of the text
    #[arg(
        long,
        env = "MESSENGER_BENCH_TEXT_BYTES",
        default_value_t = 100,
        value_name = "BYTES"
    )]
    text_bytes: usize,
    /// Senders, each with one message under way
    #[arg(
        long,
        env = "MESSENGER_BENCH_IN_FLIGHT",
        default_value_t = 16,
        value_name = "N"
    )]
    in_flight: usize,
    /// Messages that the slowest reader may be behind
    #[arg(
        long,
        env = "MESSENGER_BENCH_WINDOW",
        default_value_t = 1000,
        value_name = "N"
    )]
    window: u64,
    /// Runs of each size
    #[arg(
        long,
        env = "MESSENGER_BENCH_RUNS",
        default_value_t = 1,
        value_name = "N"
    )]
    runs: usize,
    /// One JSON array instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// Arguments for the server that is measured
    #[arg(last = true, value_name = "SERVER-ARG")]
    server_args: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench fanout --readers 100 --messages 20000
  messenger bench fanout --readers 10,100,1000 --messages 5000 --runs 5 --json
  messenger bench fanout -- --grpc-threads 1          another server setting";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut reports = Vec::new();
        for &readers in &self.readers {
            for _ in 0..self.runs {
                reports.push(self.measure(readers)?);
            }
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&reports)?);
        } else {
            println!("{}", table(&reports));
        }
        Ok(())
    }

    fn measure(&self, readers: usize) -> Result<Report, Error> {
        let config = Config {
            readers,
            messages: self.messages,
            text_bytes: self.text_bytes,
            in_flight: self.in_flight,
            window: self.window,
            server_args: self.server_args.clone(),
        };
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::new(self.messages);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")?;
        bar.set_style(style);
        bar.set_message(format!("{readers} readers"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let report = run(&config, &|messages| bar.set_position(messages));
        bar.finish_and_clear();
        report
    }
}

fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "readers",
        "messages",
        "seconds",
        "deliveries/s",
        "server CPU us/delivery",
        "load CPU us/delivery",
        "server KiB/reader",
    ]);
    for report in reports {
        table.add_row([
            report.readers.to_string(),
            report.messages.to_string(),
            format!("{:.2}", report.seconds),
            format!("{:.0}", report.deliveries_per_second),
            format!("{:.2}", report.server_cpu_us_per_delivery),
            format!("{:.2}", report.load_cpu_us_per_delivery),
            format!("{:.1}", report.server_bytes_per_reader as f64 / 1024.0),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
