//! Our replicas, the plain FastAPI and asyncpg version, and the database alone,
//! each on an empty database of one PostgreSQL. One after the other.

use std::io;
use std::path::{Path, PathBuf};

use postgres::{Client, NoTls};

use super::postgres::{Cluster, create, tool};
use super::process::{Program, Ready, command, free_port, messenger};
use crate::history::load::run::{self, Outcome};

/// The version to compare with, carried along.
const PYTHON: &str = include_str!("../../../tests/reference/history_server.py");

/// How long pgbench measures, in seconds.
const PGBENCH: &str = "5";

/// A transaction's messages have one date.
const BATCH: &str = "SELECT count(*)::float8 / greatest(count(DISTINCT sent_at), 1) FROM messages";

#[derive(Clone, Debug)]
pub struct Config {
    /// A PostgreSQL to make databases in; a private one if not given.
    pub database_url: Option<String>,
    /// An interpreter that has `tests/reference/requirements.txt`.
    pub python: PathBuf,
    pub replicas: usize,
    pub workers: usize,
    pub requests: usize,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Messenger,
    FastApi,
}

/// The PostgreSQL on which they are measured.
pub struct Stage<'a> {
    config: &'a Config,
    cluster: Option<Cluster>,
}

impl<'a> Stage<'a> {
    /// # Errors
    /// No PostgreSQL.
    pub fn new(config: &'a Config) -> io::Result<Self> {
        let own = config.database_url.is_none();
        let cluster = own.then(|| Cluster::start(&[])).transpose()?;
        Ok(Self { config, cluster })
    }

    /// Runs the load on this peer's replicas. Also returns how many messages a
    /// transaction had.
    ///
    /// # Errors
    /// A peer that does not start, or no database.
    pub fn measure(
        &self,
        peer: Peer,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(Outcome, f64), Box<dyn std::error::Error>> {
        let url = self.database()?;
        let folder = tempfile::tempdir()?;
        let programs = (0..self.config.replicas).map(|_| match peer {
            Peer::Messenger => ours(&url),
            Peer::FastApi => fast_api(&url, &self.config.python, folder.path()),
        });
        let programs = programs.collect::<io::Result<Vec<_>>>()?;
        let config = run::Config {
            replicas: programs.iter().map(|p| p.address().to_owned()).collect(),
            workers: self.config.workers,
            requests: self.config.requests,
        };
        let outcome = run::run(&config, progress)?;
        let batch = match peer {
            Peer::Messenger => Client::connect(&url, NoTls)?
                .query_one(BATCH, &[])?
                .try_get(0)?,
            Peer::FastApi => 1.0,
        };
        Ok((outcome, batch))
    }

    /// What the database alone does with our transactions: messages per second
    /// from so many connections, so many messages in each. `None` without
    /// pgbench.
    ///
    /// # Errors
    /// What pgbench says.
    pub fn alone(
        &self,
        clients: usize,
        batch: usize,
    ) -> Result<Option<f64>, Box<dyn std::error::Error>> {
        let url = self.database()?;
        // Makes the schema.
        drop(ours(&url)?);
        let list = |item: &dyn Fn(usize) -> String| {
            let items: Vec<_> = (0..batch.max(1)).map(item).collect();
            format!("ARRAY[{}]", items.join(","))
        };
        let senders = list(&|n| format!("'sender-{}'", n % 10));
        let texts = list(&|n| format!("'12345678-10-{n}'"));
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("append.sql");
        let append = format!("SELECT * FROM append_messages({senders}, {texts});\n");
        std::fs::write(&script, append)?;
        let mut pgbench = tool("pgbench");
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
        pgbench.args(["--time", PGBENCH, "--client", &clients.to_string()]);
        let ran = pgbench.arg("--file").arg(&script).arg(&url).output()?;
        if ran.status.code() == Some(127) {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&ran.stdout);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next()?.parse::<f64>().ok());
        let failed = || format!("pgbench: {}", String::from_utf8_lossy(&ran.stderr));
        Ok(Some(rate.ok_or_else(failed)? * batch.max(1) as f64))
    }

    /// A new one.
    fn database(&self) -> Result<String, Box<dyn std::error::Error>> {
        let name = format!("messenger_bench_{:08x}", fastrand::u32(..));
        match (&self.cluster, &self.config.database_url) {
            (Some(cluster), _) => Ok(cluster.create(&name)?),
            (None, Some(url)) => Ok(create(url, &name)?),
            (None, None) => Err("no PostgreSQL".into()),
        }
    }
}

fn ours(url: &str) -> io::Result<Program> {
    let serve = ["history", "serve", "--host", "127.0.0.1"];
    let this = std::env::current_exe()?;
    let mut command = messenger(&this, &[&serve[..], &["--http-port", "0"]].concat());
    command.env("DATABASE_URL", url);
    Program::start(command, &Ready::Line)
}

fn fast_api(url: &str, python: &Path, folder: &Path) -> io::Result<Program> {
    let script = folder.join("history_server.py");
    std::fs::write(&script, PYTHON)?;
    let port = free_port()?.to_string();
    let mut command = command(python);
    command.arg(&script).env("DATABASE_URL", url);
    command.env("PORT", &port);
    let ready = Ready::Port(format!("127.0.0.1:{port}"));
    Program::start(command, &ready).map_err(|error| {
        let needs = "it needs the packages of tests/reference/requirements.txt";
        let what = format!("the FastAPI version: {error} ({needs})");
        io::Error::new(error.kind(), what)
    })
}
