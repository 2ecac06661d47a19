//! `messenger bench history`

use std::path::PathBuf;

use serde_json::json;

use super::Output;
use crate::cli::Error;
use crate::cli::history::load;
use crate::compare::load::history::{Config, Peer, Stage};
use crate::compare::report::median;
use crate::history::load::run::Outcome;

/// Compare the message log's speed with a FastAPI and asyncpg version, on one PostgreSQL
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// PostgreSQL server to create databases on; a private one is started if not given
    #[arg(
        long,
        env = "MESSENGER_BENCH_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Python interpreter that has the packages of tests/reference/requirements.txt
    #[arg(
        long,
        env = "MESSENGER_BENCH_PYTHON",
        default_value = "target/venv/bin/python",
        value_name = "FILE"
    )]
    python: PathBuf,
    /// Replicas of each version
    #[arg(long, env = "MESSENGER_BENCH_REPLICAS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    #[command(flatten)]
    size: load::Size,
    /// Runs of each version, in turn
    #[arg(
        long,
        env = "MESSENGER_BENCH_RUNS",
        default_value_t = 3,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    runs: u16,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench history
  messenger bench history --runs 5 --json
  messenger bench history --database-url postgresql://me@localhost/postgres";

const PEERS: [(&str, Peer); 2] = [("messenger", Peer::Messenger), ("FastAPI", Peer::FastApi)];

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let config = Config {
            database_url: self.database_url.clone(),
            python: self.python.clone(),
            replicas: usize::from(self.replicas),
            workers: usize::from(self.size.workers),
            requests: self.size.requests as usize,
        };
        let stage = Stage::new(&config)?;
        let (mut rows, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            for (name, peer) in PEERS {
                let bar = load::progress_bar(&self.size)?;
                bar.set_message(name);
                let measured = stage.measure(peer, &|done| bar.set_position(done));
                bar.finish_and_clear();
                let (outcome, batch) = measured?;
                load::verdict(&outcome)?;
                batches.extend((peer == Peer::Messenger).then_some(batch));
                rows.push((name, outcome));
            }
        }
        let batch = median(&batches);
        let alone = stage.alone(config.replicas, batch.round() as usize)?;
        let one_by_one = stage.alone(config.workers, 1)?;
        let of = |name: &str, figure: fn(&Outcome) -> f64| {
            let own = rows.iter().filter(|row| row.0 == name);
            median(&own.map(|row| figure(&row.1)).collect::<Vec<_>>())
        };
        let rates = PEERS.map(|(name, _)| of(name, Outcome::per_second));
        let halves = PEERS.map(|(name, _)| of(name, |run| run.latencies.quantile_us(0.5)));
        let (faster, shorter) = (rates[0] / rates[1], halves[1] / halves[0]);
        if self.output.json {
            let runs = rows
                .iter()
                .map(|(name, run)| json!({"of": name, "figures": load::object(run)}));
            let all = json!({
                "runs": runs.collect::<Vec<_>>(),
                "throughputRatio": faster,
                "latencyRatio": shorter,
                "messagesPerTransaction": batch,
                "databaseAlonePerSecond": alone,
                "databaseAloneOneByOnePerSecond": one_by_one,
            });
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        let rows: Vec<_> = rows.iter().map(|(name, run)| (*name, run)).collect();
        println!("{}\n", load::times(&rows));
        println!("median: {faster:.1} times the throughput, p50 shorter by {shorter:.1}");
        let (few, many) = (config.replicas, config.workers);
        let as_ours =
            format!("{few} connections with {batch:.1} messages a transaction, as messenger has");
        let single = format!("{many} connections with one message a transaction");
        for (what, rate) in [(as_ours, alone), (single, one_by_one)] {
            let reached = |rate| {
                format!(
                    "{rate:.0} messages/s; messenger reaches {:.0} %",
                    rates[0] * 100.0 / rate
                )
            };
            let rate = rate.map_or("not measured, there is no pgbench".into(), reached);
            println!("the database alone, {what}: {rate}");
        }
        Ok(())
    }
}
