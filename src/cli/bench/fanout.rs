//! `messenger bench fanout`

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Output;
use crate::cli::{Error, duration};
use crate::compare::load::chat::{Config, Load, run};
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
    /// Readers call Subscribe, which brings messages in batches, instead of ReadMessages
    #[arg(long, env = "MESSENGER_BENCH_SUBSCRIBE")]
    subscribe: bool,
    /// Duration of each run
    #[arg(long, env = "MESSENGER_BENCH_TIME", default_value = "2s", value_name = "TIME", value_parser = duration::parse)]
    time: Duration,
    /// Messages per second; as fast as possible if not given
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
    /// Calls in flight, without --rate
    #[arg(
        long,
        env = "MESSENGER_BENCH_IN_FLIGHT",
        default_value_t = 16,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    in_flight: u16,
    /// Messages that the slowest reader may lag behind, without --rate
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
    /// Measure this running server instead of starting one
    #[arg(long, env = "MESSENGER_BENCH_SERVER", value_name = "HOST:PORT")]
    server: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Arguments for the server that is started
    #[arg(last = true, value_name = "SERVER-ARG")]
    server_args: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench fanout --readers 100
  messenger bench fanout --readers 10,100,1000 --runs 5 --json
  messenger bench fanout --subscribe --in-flight 128      in batches
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
                rows.push(row(readers, &self.measure(readers as usize)?));
            }
        }
        let columns = [
            ("readers", "readers", 1.0, 0),
            ("deliveries/s", "deliveriesPerSecond", 1.0, 0),
            ("last reader p50 us", "lastReaderP50Us", 1.0, 0),
            ("p99 us", "lastReaderP99Us", 1.0, 0),
            ("server CPU us/delivery", "serverCpuUsPerDelivery", 1.0, 2),
            ("load CPU us/delivery", "loadCpuUsPerDelivery", 1.0, 2),
            ("server KiB/reader", "serverBytesPerReader", 1024.0, 1),
            ("others' CPU %", "foreignCpu", 0.01, 1),
        ];
        self.output.rows(&rows, &columns)
    }

    fn measure(&self, readers: usize) -> Result<Figures, Error> {
        let in_flight = Load::InFlight {
            calls: u64::from(self.in_flight),
            ahead: self.ahead,
        };
        let config = Config {
            readers,
            subscribe: self.subscribe,
            load: self.rate.map_or(in_flight, Load::Rate),
            text_bytes: usize::from(self.text_bytes),
            time: self.time,
            behind: None,
        };
        let server = match &self.server {
            Some(address) => Program::foreign(address),
            None => super::server(&self.server_args)?,
        };
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::new_spinner();
        let style = format!(
            "{{spinner}} {readers} readers, {{elapsed}} of {:?}",
            self.time
        );
        bar.set_style(ProgressStyle::with_template(&style)?);
        bar.enable_steady_tick(Duration::from_millis(200));
        let figures = run(&[&server], &config);
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
        "serverCpuUsPerDelivery": figures.server_cpu,
        "loadCpuUsPerDelivery": figures.load_cpu,
        "serverBytesPerReader": figures.bytes_per_reader,
        "foreignCpu": figures.foreign_cpu,
    })
}
