//! `messenger bench fanout`

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::{Error, duration};
use crate::compare::load::fanout::{Config, Load, run};
use crate::compare::load::figures::Figures;
use crate::compare::load::process::Program;

/// Measure the fan-out: deliveries per second and server CPU per delivery
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Readers, each on a connection of its own; several sizes with commas
    #[arg(
        long,
        env = "MESSENGER_BENCH_READERS",
        default_value = "100",
        value_name = "N",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    readers: Vec<u32>,
    /// How long each run measures
    #[arg(long, env = "MESSENGER_BENCH_TIME", default_value = "2s", value_name = "TIME", value_parser = duration::parse)]
    time: Duration,
    /// Messages per second; as many as are answered if it is not given
    #[arg(long, env = "MESSENGER_BENCH_RATE", value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Length of the text, 16 to 16000
    #[arg(
        long,
        env = "MESSENGER_BENCH_TEXT_BYTES",
        default_value_t = 100,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u16).range(16..=16_000)
    )]
    text_bytes: u16,
    /// Calls under way, without --rate
    #[arg(
        long,
        env = "MESSENGER_BENCH_IN_FLIGHT",
        default_value_t = 16,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    in_flight: u16,
    /// Messages that the slowest reader may be behind, without --rate
    #[arg(
        long,
        env = "MESSENGER_BENCH_AHEAD",
        default_value_t = 1000,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=5000)
    )]
    ahead: u64,
    /// Runs of each size
    #[arg(
        long,
        env = "MESSENGER_BENCH_RUNS",
        default_value_t = 1,
        value_name = "N"
    )]
    runs: usize,
    /// Measure the server that listens there instead of starting one
    #[arg(long, env = "MESSENGER_BENCH_SERVER", value_name = "HOST:PORT")]
    server: Option<String>,
    /// One JSON array instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// Arguments for the server that is started
    #[arg(last = true, value_name = "SERVER-ARG")]
    server_args: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench fanout --readers 100
  messenger bench fanout --readers 10,100,1000 --runs 5 --json
  messenger bench fanout --readers 10000 --rate 5 --time 10m
  messenger bench fanout -- --grpc-threads 1          another server setting";

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.001..=1e6).contains(rate))
        .ok_or_else(|| "a number from 0.001 to 1000000".into())
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut rows = Vec::new();
        for &readers in &self.readers {
            for _ in 0..self.runs {
                rows.push((readers, self.measure(readers)?));
            }
        }
        if self.json {
            let rows: Vec<Value> = rows.iter().map(|(readers, f)| row(*readers, f)).collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
        } else {
            println!("{}", table(&rows));
        }
        Ok(())
    }

    fn measure(&self, readers: u32) -> Result<Figures, Error> {
        let load = match self.rate {
            Some(rate) => Load::Rate(rate),
            None => Load::InFlight {
                calls: usize::from(self.in_flight),
                ahead: self.ahead,
            },
        };
        let config = Config {
            readers: readers as usize,
            load,
            text_bytes: usize::from(self.text_bytes),
            time: self.time,
        };
        let server = match &self.server {
            Some(address) => Program::foreign(address),
            None => Program::server(0, &self.server_args)?,
        };
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::new(1000);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} % {eta}")?;
        bar.set_style(style);
        bar.set_message(format!("{readers} readers"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let figures = run(&server, &config, &|part| {
            bar.set_position((part * 1000.0) as u64);
        });
        bar.finish_and_clear();
        Ok(figures?)
    }
}

fn row(readers: u32, figures: &Figures) -> Value {
    json!({
        "readers": readers,
        "deliveries": figures.operations,
        "seconds": figures.seconds,
        "deliveriesPerSecond": figures.per_second(),
        "lastReaderP50Us": figures.latencies.quantile_us(0.5),
        "lastReaderP99Us": figures.latencies.quantile_us(0.99),
        "serverCpuUsPerDelivery": figures.server_cpu_per_operation(),
        "loadCpuUsPerDelivery": figures.load_cpu_per_operation(),
        "serverBytesPerReader": figures.bytes_per_reader,
        "foreignCpu": figures.foreign_cpu,
    })
}

fn table(rows: &[(u32, Figures)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "readers",
        "deliveries/s",
        "last reader p50 us",
        "p99 us",
        "server CPU us/delivery",
        "load CPU us/delivery",
        "server KiB/reader",
        "others' CPU",
    ]);
    for (readers, figures) in rows {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let memory = figures.bytes_per_reader.map(|b| b as f64 / 1024.0);
        table.add_row([
            readers.to_string(),
            format!("{:.0}", figures.per_second()),
            format!("{:.0}", figures.latencies.quantile_us(0.5)),
            format!("{:.0}", figures.latencies.quantile_us(0.99)),
            or_dash(
                figures
                    .server_cpu_per_operation()
                    .map(|us| format!("{us:.2}")),
            ),
            format!("{:.2}", figures.load_cpu_per_operation()),
            or_dash(memory.map(|kib| format!("{kib:.1}"))),
            format!("{:.1} %", figures.foreign_cpu * 100.0),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
