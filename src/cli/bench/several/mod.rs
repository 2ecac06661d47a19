//! `messenger bench several`: what one chat over several servers costs. Each row has servers
//! of its own, on an empty database.

mod append;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Output;
use crate::cli::rows::{Column, table};
use crate::cli::{Error, duration};
use crate::compare::load::chat::{Config, Load, run};
use crate::compare::load::figures::Figures;
use crate::compare::load::postgres::{Cluster, create};
use crate::compare::load::process::Program;

/// By kind and number of servers, or what is special.
#[rustfmt::skip]
const ROWS: [&str; 10] = [
    "append-1", "append-3", "send-1", "send-3", "latency", "latency-deaf", "latency-standby",
    "deliveries-1", "deliveries-2", "deliveries-3",
];

/// While latencies are measured: messages a second, and readers at each server.
const RATE: Load = Load::Rate(500.0);
const LISTENERS: usize = 3;

/// While deliveries are measured; as `bench fanout --subscribe --in-flight 128`.
const FANOUT: Load = Load::InFlight {
    calls: 128,
    ahead: 1000,
};

/// Bytes of each text.
const TEXT: usize = 100;

/// Nobody answers there.
const NOBODY: &str = "postgresql://postgres@127.0.0.1:1/none";

/// Measure one chat over several servers on one PostgreSQL
///
/// append-1, append-3: so many servers append all messages that they can, in this process and
/// without gRPC; beside it, as many clients append such batches, and nobody reads them. send-1,
/// send-3: all that so many servers take over gRPC. latency: 500 messages a second to three
/// servers with three readers each; -deaf is with LISTEN cut off, -standby with a synchronous
/// standby. deliveries-1, -2, -3: readers of Subscribe share so many servers; where these share
/// a few processors, it shows what a delivery costs, and no speed-up.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// PostgreSQL server to create databases on; each row has a private one if not given, and
    /// the one with a standby always
    #[arg(
        long,
        env = "MESSENGER_BENCH_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Measure only these rows
    #[arg(long, env = "MESSENGER_BENCH_ONLY", value_name = "ROW", value_delimiter = ',', value_parser = ROWS)]
    only: Vec<String>,
    /// Duration of each measurement
    #[arg(long, env = "MESSENGER_BENCH_SECONDS", default_value = "5", value_name = "SECONDS", value_parser = duration::parse)]
    seconds: Duration,
    /// Messages in flight at each server, in rows of append and send
    #[arg(long, env = "MESSENGER_BENCH_IN_FLIGHT", default_value_t = 512, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    in_flight: u16,
    /// Readers of all servers together, in rows of deliveries
    #[arg(long, env = "MESSENGER_BENCH_READERS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    readers: u32,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench several
  messenger bench several --only append-1,append-3 --seconds 20 --json
  messenger bench several --only deliveries-1,deliveries-2,deliveries-3 --readers 300
  messenger bench several --database-url postgresql://me@localhost/postgres";

/// A table for each kind of rows.
#[rustfmt::skip]
const TABLES: [(&str, &[Column]); 4] = [
    ("append", &[
        ("", "row", 1.0, 0),
        ("messages/s", "perSecond", 1.0, 0),
        ("a batch", "messagesPerBatch", 1.0, 1),
        ("append only/s", "appendOnlyPerSecond", 1.0, 0),
        ("part of it %", "partOfAppendOnly", 0.01, 0),
        ("PostgreSQL CPU us/message", "postgresCpuUs", 1.0, 1),
        ("append only", "appendOnlyPostgresCpuUs", 1.0, 1),
        ("servers' CPU", "serverCpuUs", 1.0, 1),
        ("others' CPU %", "foreignCpu", 0.01, 1),
    ]),
    ("send", &[
        ("", "row", 1.0, 0),
        ("messages/s", "perSecond", 1.0, 0),
        ("servers' CPU us/message", "serverCpuUs", 1.0, 1),
        ("PostgreSQL CPU", "postgresCpuUs", 1.0, 1),
        ("load CPU", "loadCpuUs", 1.0, 1),
        ("others' CPU %", "foreignCpu", 0.01, 1),
    ]),
    ("latency", &[
        ("", "row", 1.0, 0),
        ("answer p50 ms", "answerP50Us", 1e3, 1),
        ("p99", "answerP99Us", 1e3, 1),
        ("last reader there p50 ms", "sameServerP50Us", 1e3, 1),
        ("p99", "sameServerP99Us", 1e3, 1),
        ("elsewhere p50 ms", "otherServersP50Us", 1e3, 1),
        ("p99", "otherServersP99Us", 1e3, 1),
        ("others' CPU %", "foreignCpu", 0.01, 1),
    ]),
    ("deliveries", &[
        ("", "row", 1.0, 0),
        ("deliveries/s", "perSecond", 1.0, 0),
        ("servers' CPU us/delivery", "serverCpuUs", 1.0, 2),
        ("PostgreSQL CPU", "postgresCpuUs", 1.0, 2),
        ("load CPU", "loadCpuUs", 1.0, 2),
        ("others' CPU %", "foreignCpu", 0.01, 1),
    ]),
];

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let is_chosen = |row: &&str| self.only.is_empty() || self.only.iter().any(|it| it == row);
        let chosen: Vec<_> = ROWS.into_iter().filter(is_chosen).collect();
        // Drawn on standard error, and only if that is a terminal.
        let bar = ProgressBar::new(chosen.len() as u64);
        let style = "{msg} {wide_bar} {pos} of {len} {elapsed}";
        bar.set_style(ProgressStyle::with_template(style)?);
        bar.enable_steady_tick(Duration::from_millis(200));
        let mut rows = Vec::new();
        for row in chosen {
            bar.set_message(row);
            let mut figures = self.measure(row)?;
            figures["row"] = row.into();
            rows.push(figures);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if self.output.json {
            return self.output.rows(&rows, &[]);
        }
        for (kind, columns) in TABLES {
            let is_here = |row: &&Value| row["row"].as_str().is_some_and(|it| it.starts_with(kind));
            let rows: Vec<_> = rows.iter().filter(is_here).cloned().collect();
            if !rows.is_empty() {
                println!("{}\n", table(&rows, columns));
            }
        }
        Ok(())
    }

    fn measure(&self, row: &str) -> Result<Value, Error> {
        let (kind, special) = row.split_once('-').unwrap_or((row, ""));
        let given = self.database_url.clone().filter(|_| special != "standby");
        let private = given.is_none().then(|| Cluster::start(&[]));
        let mut private = private.transpose()?;
        if let (Some(cluster), "standby") = (&mut private, special) {
            cluster.order("copy_b")?;
        }
        let postgres = private.as_ref().map(Cluster::id).transpose()?;
        let own = || private.as_ref().map(Cluster::url);
        let place = Place {
            url: given.or_else(own).unwrap_or_default(),
            postgres,
            seconds: self.seconds,
        };
        let count = special.parse().unwrap_or(3);
        let calls = u64::from(self.in_flight) * count as u64;
        let ahead = calls;
        let (readers, load, flags): (_, _, &[&str]) = match (kind, special) {
            ("append", _) => return append::measure(&place, count, self.in_flight.into()),
            ("send", _) => (0, Load::InFlight { calls, ahead }, &[]),
            ("latency", "deaf") => (LISTENERS * count, RATE, &["--listen-url", NOBODY]),
            ("latency", _) => (LISTENERS * count, RATE, &[]),
            _ => (self.readers as usize, FANOUT, &[]),
        };
        place.run(&place.servers(count, flags)?, readers, load)
    }
}

/// Where is measured.
struct Place {
    url: String,
    /// Its first process, if it is ours.
    postgres: Option<u32>,
    seconds: Duration,
}

impl Place {
    /// A new one.
    fn database(&self) -> Result<String, Error> {
        create(
            &self.url,
            &format!("messenger_bench_{:08x}", fastrand::u32(..)),
        )
    }

    /// So many servers on a new database.
    fn servers(&self, count: usize, flags: &[&str]) -> Result<Vec<Program>, Error> {
        let url = self.database()?;
        let flags = [&["--services", "chat", "--database-url", &url], flags].concat();
        let flags: Vec<_> = flags.into_iter().map(str::to_owned).collect();
        (0..count).map(|_| super::server(&flags)).collect()
    }

    fn run(&self, servers: &[Program], readers: usize, load: Load) -> Result<Value, Error> {
        let config = Config {
            readers,
            subscribe: true,
            load,
            text_bytes: TEXT,
            time: self.seconds,
            behind: self.postgres,
        };
        let figures = run(&servers.iter().collect::<Vec<_>>(), &config)?;
        let mut row = row(&figures);
        row["servers"] = servers.len().into();
        row["readers"] = readers.into();
        let places = ["answer", "sameServer", "otherServers"];
        for (place, latencies) in places.iter().zip(&figures.places) {
            // Not where nobody reads.
            let quantile = |part| Some(latencies.quantile_us(part)).filter(|us| *us > 0.0);
            row[format!("{place}P50Us")] = quantile(0.5).into();
            row[format!("{place}P99Us")] = quantile(0.99).into();
        }
        Ok(row)
    }
}

/// What all rows have.
fn row(figures: &Figures) -> Value {
    json!({
        // Deliveries if there are readers, or else messages.
        "perSecond": figures.per_second(),
        "serverCpuUs": figures.server_cpu,
        "postgresCpuUs": figures.behind_cpu,
        "loadCpuUs": figures.load_cpu,
        "foreignCpu": figures.foreign_cpu,
    })
}
