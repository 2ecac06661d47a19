//! `messenger history load`

use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::rows::{Column, table};
use crate::cli::{Error, access, tls};
use crate::history::load::{plot, run};

/// Put load on the replicas of one message log, and check every answer
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address of a replica; may be repeated, each request goes to one at random
    #[arg(
        long = "url",
        env = "MESSENGER_HISTORY_URLS",
        default_value = "http://localhost:8070",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = address
    )]
    urls: Vec<String>,
    #[command(flatten)]
    token: access::Client,
    #[command(flatten)]
    tls: tls::Connect,
    #[command(flatten)]
    size: Size,
    /// Print one JSON object instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// Write the distribution of the latencies into this SVG file
    #[arg(long, env = "MESSENGER_HISTORY_PLOT", value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// How much load.
#[derive(clap::Args, Debug)]
pub struct Size {
    /// Parallel workers, each of which sends one request after the other
    #[arg(long, env = "MESSENGER_HISTORY_WORKERS", default_value_t = 50, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub workers: u16,
    /// Requests of each worker
    #[arg(long, env = "MESSENGER_HISTORY_REQUESTS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: u32,
}

const EXAMPLES: &str = "\
Examples:
  messenger history load
  messenger history load --url http://localhost:8070 --url http://localhost:8071
  messenger history load --workers 1 --requests 1000 --plot latency.svg
  messenger history load --json | jq .perSecond

The exit code is 1 if an answer contradicts itself or another one.";

/// host:port of `http://host:port`; one of `https://host:port` keeps that.
fn address(url: &str) -> Result<String, String> {
    let (scheme, default, address) = match url.split_once("://") {
        Some(("https", address)) => ("https://", 443, address),
        Some(("http", address)) => ("", 80, address),
        _ => ("", 80, url),
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    if address.is_empty() || address.contains('/') {
        return Err("write it like http://localhost:8070".into());
    }
    let port = address.rsplit(':').next().unwrap_or_default();
    Ok(match port.parse::<u16>() {
        Ok(_) => format!("{scheme}{address}"),
        Err(_) => format!("{scheme}{address}:{default}"),
    })
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut tls = self.tls.read()?.map(|tls| (*tls.get()).clone());
        let encrypted = self.urls.iter().filter_map(|u| u.strip_prefix("https://"));
        let mut replicas: Vec<String> = encrypted.map(str::to_owned).collect();
        match replicas.len() {
            0 => replicas.clone_from(&self.urls),
            all if all == self.urls.len() => drop(tls.get_or_insert_default()),
            _ => return Err("--url: either all are https:// or none is".into()),
        }
        let config = run::Config {
            replicas,
            tls,
            token: self.token.read()?,
            workers: usize::from(self.size.workers),
            requests: self.size.requests as usize,
            again: true,
        };
        let bar = progress_bar(&self.size)?;
        let outcome = run::run(&config, &|done| bar.set_position(done));
        bar.finish_and_clear();
        let outcome = outcome?;
        if let Some(file) = &self.plot {
            let latencies: Vec<Duration> = outcome.answered.iter().map(|a| a.latency).collect();
            std::fs::write(file, plot::distribution(&latencies)?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let figures = object(&outcome);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&figures)?);
        } else {
            let replicas = figures["replicas"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            println!("{}\n", table(std::slice::from_ref(&figures), &TIMES[1..]));
            println!("{}", table(replicas, &REPLICAS));
        }
        verdict(&outcome)
    }
}

/// Drawn on standard error, and only if that is a terminal.
pub fn progress_bar(size: &Size) -> Result<ProgressBar, Error> {
    let bar = ProgressBar::new(u64::from(size.workers) * u64::from(size.requests));
    let style = "{msg} {wide_bar} {pos} of {len} {eta}";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_message("requests");
    Ok(bar)
}

/// # Errors
/// When the checks failed, or nothing was answered.
pub fn verdict(outcome: &run::Outcome) -> Result<(), Error> {
    for violation in &outcome.violations.kept {
        eprintln!("violation: {violation}");
    }
    match outcome.violations.count {
        0 if outcome.answered.is_empty() => {
            let errors = outcome.replicas.iter().find_map(|r| r.last_error.as_ref());
            let error = errors.map_or("", String::as_str);
            Err(format!("no request was answered with 200: {error}").into())
        }
        0 => Ok(()),
        count => Err(format!("{count} violations in the answers").into()),
    }
}

pub fn object(outcome: &run::Outcome) -> Value {
    let replica = |replica: &run::Replica| {
        json!({
            "address": replica.address,
            "requests": replica.requests,
            "errors": replica.errors,
            "lastError": replica.last_error,
        })
    };
    let latencies = &outcome.latencies;
    json!({
        "seconds": outcome.time.as_secs_f64(),
        "requests": outcome.answered.len(),
        "perSecond": outcome.per_second(),
        "meanUs": latencies.mean_us(),
        "p50Us": latencies.quantile_us(0.5),
        "p90Us": latencies.quantile_us(0.9),
        "p99Us": latencies.quantile_us(0.99),
        "maxUs": latencies.quantile_us(1.0),
        "replicas": outcome.replicas.iter().map(replica).collect::<Vec<_>>(),
        "violations": outcome.violations.count,
        "violationsKept": outcome.violations.kept,
    })
}

/// Of an [`object`]; the first one is for whose run it is.
pub const TIMES: [Column; 9] = [
    ("", "of", 1.0, 0),
    ("total s", "seconds", 1.0, 2),
    ("requests/s", "perSecond", 1.0, 0),
    ("mean ms", "meanUs", 1e3, 2),
    ("p50", "p50Us", 1e3, 2),
    ("p90", "p90Us", 1e3, 2),
    ("p99", "p99Us", 1e3, 2),
    ("max", "maxUs", 1e3, 2),
    ("violations", "violations", 1.0, 0),
];

const REPLICAS: [Column; 4] = [
    ("replica", "address", 1.0, 0),
    ("requests", "requests", 1.0, 0),
    ("errors", "errors", 1.0, 0),
    ("last error", "lastError", 1.0, 0),
];

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_replica_is_named_by_its_url() {
        assert_eq!(address("http://a:1"), Ok("a:1".into()));
        assert_eq!(address("a:1/"), Ok("a:1".into()));
        assert_eq!(address("http://a"), Ok("a:80".into()));
        assert_eq!(address("https://a/"), Ok("https://a:443".into()));
        assert!(address("ftp://a").is_err());
        assert!(address("http://a/b").is_err() && address("").is_err());
    }
}
