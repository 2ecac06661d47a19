//! `messenger jobs list`

use std::io::{self, BufWriter, Write};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::{Places, outcome};
use crate::cli::Error;
use crate::cli::terminal::{plain, print_line, say};
use crate::jobs::job::{Filter, State};
use crate::jobs::wire::job_json;

/// List jobs and their results, newest first
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print one JSON array instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// Only jobs in this state
    #[arg(long, env = "MESSENGER_JOBS_STATE", value_name = "STATE",
          value_parser = PossibleValuesParser::new(State::ALL.map(State::name)).try_map(state))]
    state: Option<State>,
    /// Most jobs to list
    #[arg(
        long,
        env = "MESSENGER_JOBS_LIMIT",
        default_value_t = 100_000,
        value_name = "N"
    )]
    limit: usize,
    #[command(flatten)]
    places: Places,
}

fn state(name: String) -> Result<State, &'static str> {
    State::named(&name).ok_or("no state")
}

const EXAMPLES: &str = "\
Examples:
  messenger jobs list --limit 20
  messenger jobs list --state failed
  messenger jobs list --json | jq -r '.[] | [.task, .result] | @tsv'";

/// Characters of a task or a result in the table.
const SHOWN: usize = 60;

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let filter = Filter {
            state: self.state,
            limit: self.limit,
        };
        let desk = self.places.desk()?;
        if self.json {
            return print_json(|show| Ok(desk.each(filter, |job| show(job_json(&job)))?));
        }
        let mut table = Table::new();
        let header = ["task", "state", "result", "attempts", "worker", "sent"];
        table.load_style(presets::NOTHING).set_header(header);
        desk.each(filter, |job| {
            table.add_row([
                short(&plain(&job.text())),
                job.state.name().to_owned(),
                short(&outcome(&job)),
                job.attempts.to_string(),
                job.worker.clone().unwrap_or_default(),
                job.queued_at.map(|time| time.rfc3339()).unwrap_or_default(),
            ]);
            true
        })?;
        say(&table.to_string())
    }
}

/// An array, written as its rows come; ends when its reader has gone.
pub fn print_json(
    each: impl FnOnce(&mut dyn FnMut(Value) -> bool) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let mut separator = "[";
    each(&mut |row| {
        written = write!(out, "{separator}\n{row}");
        separator = ",";
        written.is_ok()
    })?;
    let end = if separator == "[" { "[]" } else { "\n]" };
    let ended = written.and_then(|()| print_line(&mut out, end));
    match ended {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn short(text: &str) -> String {
    let length = text.chars().count();
    if length <= SHOWN {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start}... ({length} characters)")
}
