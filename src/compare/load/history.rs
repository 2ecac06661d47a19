//! Our replicas, the plain FastAPI and asyncpg version, and the database alone,
//! each on an empty database of one PostgreSQL. One after the other.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use postgres::{Client, NoTls};

use super::postgres::{Cluster, create};
use super::process::{Program, Ready, free_port};
use crate::history::load::run::{self, Outcome};

/// The version to compare with, carried along.
const PYTHON: &str = include_str!("../../../tests/reference/history_server.py");

/// How long pgbench measures.
const PGBENCH: Duration = Duration::from_secs(5);

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
        let cluster = match config.database_url {
            Some(_) => None,
            None => Some(Cluster::start(&[])?),
        };
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
            Peer::Messenger => messenger(&url),
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
            // All messages of a transaction have one date.
            Peer::Messenger => {
                let select =
                    "SELECT count(*)::float8 / greatest(count(DISTINCT sent_at), 1) FROM messages";
                Client::connect(&url, NoTls)?
                    .query_one(select, &[])?
                    .try_get(0)?
            }
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
        drop(messenger(&url)?);
        let list = |item: &dyn Fn(usize) -> String| {
            let items: Vec<_> = (0..batch.max(1)).map(item).collect();
            format!("ARRAY[{}]", items.join(","))
        };
        let senders = list(&|n| format!("'sender-{}'", n % 10));
        let texts = list(&|n| format!("'12345678-10-{n}'"));
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()?;
        let script = folder.path().join("append.sql");
        std::fs::write(
            &script,
            format!("SELECT * FROM append_messages({senders}, {texts});\n"),
        )?;
        let mut pgbench = match &self.cluster {
            Some(cluster) => cluster.command("pgbench"),
            None => Command::new("pgbench"),
        };
        let clients = clients.to_string();
        pgbench.args([
            "--no-vacuum",
            "--protocol=prepared",
            "--jobs=2",
            "--client",
            &clients,
        ]);
        pgbench.args(["--time", &PGBENCH.as_secs().to_string(), "--file"]);
        let ran = match pgbench.arg(&script).arg(&url).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            ran => ran?,
        };
        let said = String::from_utf8_lossy(&ran.stdout);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next()?.parse::<f64>().ok());
        let said = String::from_utf8_lossy(&ran.stderr);
        let rate = rate.ok_or_else(|| format!("pgbench: {said}"))?;
        Ok(Some(rate * batch.max(1) as f64))
    }

    /// A new one.
    fn database(&self) -> Result<String, Box<dyn std::error::Error>> {
        let name = format!("messenger_bench_{:08x}", fastrand::u32(..));
        match (&self.cluster, &self.config.database_url) {
            (Some(cluster), _) => Ok(cluster.create(&name)?),
            (None, Some(url)) => {
                create(url, &name)?;
                Ok(with_database(url, &name))
            }
            (None, None) => Err("no PostgreSQL".into()),
        }
    }
}

/// The same address with another database.
pub fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = address.split_once("://").unwrap_or(("postgresql", address));
    let host = rest.split('/').next().unwrap_or_default();
    let question = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{host}/{name}{question}{query}")
}

fn messenger(url: &str) -> io::Result<Program> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "history",
        "serve",
        "--host",
        "127.0.0.1",
        "--http-port",
        "0",
    ]);
    command
        .args(["--log-level", "error"])
        .env("DATABASE_URL", url);
    Program::start(command, &Ready::Line)
}

fn fast_api(url: &str, python: &std::path::Path, folder: &std::path::Path) -> io::Result<Program> {
    let script = folder.join("history_server.py");
    std::fs::write(&script, PYTHON)?;
    let port = free_port()?;
    let mut command = Command::new(python);
    command
        .arg(&script)
        .env("DATABASE_URL", url)
        .env("PORT", port.to_string());
    let ready = Ready::Port(format!("127.0.0.1:{port}"));
    Program::start(command, &ready).map_err(|error| {
        let needs = "it needs the packages of tests/reference/requirements.txt";
        io::Error::new(
            error.kind(),
            format!("the FastAPI version: {error} ({needs})"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server() {
        for (url, expected) in [
            ("postgresql://a:b@h:1/x", "postgresql://a:b@h:1/n"),
            ("postgres://h", "postgres://h/n"),
            (
                "postgres://h/x?sslmode=disable",
                "postgres://h/n?sslmode=disable",
            ),
        ] {
            assert_eq!(with_database(url, "n"), expected);
        }
    }
}
