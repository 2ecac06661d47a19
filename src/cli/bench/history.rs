//! `messenger bench history`

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::Error;
use crate::cli::history::load;
use crate::compare::load::history::{Config, Peer, Stage};
use crate::history::load::run::Outcome;

/// Measure the log's replicas beside a FastAPI and asyncpg version, on one PostgreSQL
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// PostgreSQL to make databases in; a private one is started if not given
    #[arg(
        long,
        env = "MESSENGER_BENCH_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Python that has the packages of tests/reference/requirements.txt
    #[arg(
        long,
        env = "MESSENGER_BENCH_PYTHON",
        default_value = "target/venv/bin/python",
        value_name = "FILE"
    )]
    python: PathBuf,
    /// Replicas of each
    #[arg(long, env = "MESSENGER_BENCH_REPLICAS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    #[command(flatten)]
    size: load::Size,
    /// Runs of each, in turn
    #[arg(
        long,
        env = "MESSENGER_BENCH_RUNS",
        default_value_t = 3,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    runs: u16,
    /// One JSON object instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
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
                if peer == Peer::Messenger {
                    batches.push(batch);
                }
                rows.push((name, outcome));
            }
        }
        let batch = median(batches);
        let together = stage.alone(config.replicas, batch.round() as usize)?;
        let single = stage.alone(config.workers, 1)?;
        let of = |name: &str, figure: &dyn Fn(&Outcome) -> f64| {
            let own = rows.iter().filter(|row| row.0 == name);
            median(own.map(|row| figure(&row.1)).collect())
        };
        let [ours, theirs] = PEERS.map(|(name, _)| {
            let rate = of(name, &Outcome::per_second);
            let half = of(name, &|outcome| outcome.latencies.quantile_us(0.5));
            (rate, half)
        });
        let (faster, shorter) = (ours.0 / theirs.0, theirs.1 / ours.1);
        if self.json {
            let runs: Vec<Value> = rows
                .iter()
                .map(|(name, outcome)| json!({"of": name, "figures": load::object(outcome)}))
                .collect();
            let all = json!({
                "runs": runs,
                "throughputRatio": faster,
                "latencyRatio": shorter,
                "messagesPerTransaction": batch,
                "databaseAlonePerSecond": together,
                "databaseAloneOneByOnePerSecond": single,
            });
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        let named: Vec<_> = rows
            .iter()
            .map(|(name, outcome)| (*name, outcome))
            .collect();
        println!("{}\n", load::times(&named));
        println!("median: {faster:.1} times the throughput, p50 shorter by {shorter:.1}");
        let alone = |rate: Option<f64>, what: String| match rate {
            Some(rate) => println!(
                "the database alone, {what}: {rate:.0} messages/s; messenger reaches {:.0} %",
                ours.0 * 100.0 / rate
            ),
            None => println!("the database alone, {what}: not measured, there is no pgbench"),
        };
        let connections = config.replicas;
        alone(
            together,
            format!(
                "{connections} connections with {batch:.1} messages a transaction, as messenger has"
            ),
        );
        let connections = config.workers;
        alone(
            single,
            format!("{connections} connections with one message a transaction"),
        );
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
