//! `messenger bench history`: our replicas, the plain FastAPI and asyncpg version, and
//! the database alone, each on an empty database of one PostgreSQL. One after the other.

use std::io;
use std::path::{Path, PathBuf};

use postgres::{Client, NoTls};

use serde_json::json;

use super::Output;
use crate::cli::Error;
use crate::cli::history::load;
use crate::cli::rows::table;
use crate::compare::load::postgres::{Cluster, create, tool};
use crate::compare::load::process::{Program, command, messenger};
use crate::compare::report::median;
use crate::history::load::run::{self, Outcome};

/// The version to compare with, carried along.
const PYTHON: &str = include_str!("../../../tests/reference/history_server.py");

/// How long pgbench measures, in seconds.
const PGBENCH: &str = "5";

/// A transaction's messages have one date.
const BATCH: &str = "SELECT count(*)::float8 / greatest(count(DISTINCT sent_at), 1) FROM messages";

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

/// Who is measured, in turn.
const PEERS: [&str; 2] = ["messenger", "FastAPI"];

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let private = self.database_url.is_none();
        let private = private.then(|| Cluster::start(&[])).transpose()?;
        let given = self.database_url.clone().unwrap_or_default();
        let server = private.as_ref().map_or(given, Cluster::url);
        let (mut rows, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            for name in PEERS {
                let bar = load::progress_bar(&self.size)?;
                bar.set_message(name);
                let measured = self.measure(name, &server, &|done| bar.set_position(done));
                bar.finish_and_clear();
                let (outcome, batch) = measured?;
                load::verdict(&outcome)?;
                batches.extend(batch);
                rows.push((name, outcome));
            }
        }
        let batch = median(&batches);
        let (few, many) = (self.replicas, self.size.workers);
        let together = alone(&server, few, batch.round() as usize)?;
        let one_by_one = alone(&server, many, 1)?;
        let of = |name: &str, figure: fn(&Outcome) -> f64| {
            let own = rows.iter().filter(|row| row.0 == name);
            median(&own.map(|row| figure(&row.1)).collect::<Vec<_>>())
        };
        let rates = PEERS.map(|name| of(name, Outcome::per_second));
        let halves = PEERS.map(|name| of(name, |run| run.latencies.quantile_us(0.5)));
        let (faster, shorter) = (rates[0] / rates[1], halves[1] / halves[0]);
        if self.output.json {
            let run =
                |(name, run): &(&str, Outcome)| json!({"of": name, "figures": load::object(run)});
            let all = json!({
                "runs": rows.iter().map(run).collect::<Vec<_>>(),
                "throughputRatio": faster,
                "latencyRatio": shorter,
                "messagesPerTransaction": batch,
                "databaseAlonePerSecond": together,
                "databaseAloneOneByOnePerSecond": one_by_one,
            });
            println!("{}", serde_json::to_string_pretty(&all)?);
            return Ok(());
        }
        let row = |(name, run): &(&str, Outcome)| {
            let mut row = load::object(run);
            row["of"] = (*name).into();
            row
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        println!("{}\n", table(&rows, &load::TIMES));
        println!("median: {faster:.1} times the throughput, p50 shorter by {shorter:.1}");
        let ours = format!("with {batch:.1} messages a transaction, as messenger has");
        let single = "with one message a transaction".to_owned();
        for (connections, what, rate) in [(few, ours, together), (many, single, one_by_one)] {
            let part = |rate| rates[0] * 100.0 / rate;
            let reached = |rate| {
                format!(
                    "{rate:.0} messages/s; messenger reaches {:.0} %",
                    part(rate)
                )
            };
            let rate = rate.map_or("not measured, there is no pgbench".into(), reached);
            println!("the database alone, {connections} connections {what}: {rate}");
        }
        Ok(())
    }
    /// Runs the load on this peer's replicas. Also returns how many messages a
    /// transaction of ours had.
    fn measure(
        &self,
        peer: &str,
        server: &str,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Outcome, Option<f64>), Error> {
        let url = database(server)?;
        let folder = tempfile::tempdir()?;
        let ours = peer == PEERS[0];
        let programs = (0..self.replicas).map(|_| match ours {
            true => messenger_log(&url),
            false => fast_api(&url, &self.python, folder.path()),
        });
        let programs = programs.collect::<io::Result<Vec<_>>>()?;
        let config = run::Config {
            token: None,
            replicas: programs.iter().map(|p| p.address().to_owned()).collect(),
            tls: None,
            workers: usize::from(self.size.workers),
            requests: self.size.requests as usize,
            // A key is stored too, and the others know none.
            again: false,
        };
        let outcome = run::run(&config, progress)?;
        let batch = || {
            Client::connect(&url, NoTls)?
                .query_one(BATCH, &[])?
                .try_get(0)
        };
        let batch = ours.then(batch).transpose()?;
        Ok((outcome, batch))
    }
}

/// A new one, on this server.
fn database(server: &str) -> Result<String, Error> {
    create(
        server,
        &format!("messenger_bench_{:08x}", fastrand::u32(..)),
    )
}

/// What the database alone does with our transactions: messages per second from so
/// many connections, so many messages in each. `None` without pgbench.
fn alone(server: &str, clients: u16, batch: usize) -> Result<Option<f64>, Error> {
    let (url, batch) = (database(server)?, batch.max(1));
    // Makes the schema.
    drop(messenger_log(&url)?);
    let list = |item: fn(usize) -> String| (0..batch).map(item).collect::<Vec<_>>().join(",");
    let senders = list(|n| format!("'sender-{}'", n % 10));
    let texts = list(|n| format!("'12345678-10-{n}'"));
    let append =
        format!("SELECT * FROM append_messages(ARRAY[{senders}], ARRAY[{texts}], NULL);\n");
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(&script, append)?;
    let mut pgbench = tool("pgbench");
    pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
    pgbench.args(["--time", PGBENCH, "--client", &clients.to_string()]);
    let ran = pgbench
        .arg("--file")
        .arg(script.path())
        .arg(&url)
        .output()?;
    if ran.status.code() == Some(127) {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&ran.stdout);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rate| rate.split(' ').next()?.parse::<f64>().ok());
    let failed = || format!("pgbench: {}", String::from_utf8_lossy(&ran.stderr));
    Ok(Some(rate.ok_or_else(failed)? * batch as f64))
}

fn messenger_log(url: &str) -> io::Result<Program> {
    let serve = ["history", "serve", "--host", "127.0.0.1"];
    let this = std::env::current_exe()?;
    let mut command = messenger(&this, &[&serve[..], &["--http-port", "0"]].concat());
    command.env("DATABASE_URL", url);
    Program::start(command)
}

fn fast_api(url: &str, python: &Path, folder: &Path) -> io::Result<Program> {
    let script = folder.join("history_server.py");
    std::fs::write(&script, PYTHON)?;
    let mut command = command(python);
    command.arg(&script).env("DATABASE_URL", url);
    Program::start_on(command, "PORT", 0).map_err(|error| {
        let needs = "it needs the packages of tests/reference/requirements.txt";
        let what = format!("the FastAPI version: {error} ({needs})");
        io::Error::new(error.kind(), what)
    })
}
