//! `--trace`: a file that shows where the time of each request goes.

use std::path::PathBuf;

use super::Error;
use crate::access_log;
use crate::trace::{self, Trace};

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Observation")]
pub struct Args {
    /// Write a trace of each request and message to this file, which is replaced: the
    /// Chrome trace event format, for ui.perfetto.dev
    #[arg(long, env = "MESSENGER_TRACE", value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Largest trace; it ends there
    #[arg(long, env = "MESSENGER_TRACE_BYTES", default_value_t = trace::MOST_BYTES, value_name = "BYTES",
          value_parser = clap::value_parser!(u64).range(4096..))]
    trace_bytes: u64,
}

impl Args {
    /// Begins the trace, if one is wanted; dropping the result ends it. `process` is this
    /// process's name there.
    pub fn start(&self, process: &str) -> Result<Option<Trace>, Error> {
        let Some(file) = &self.trace else {
            return Ok(None);
        };
        // Arrows follow a request by its id.
        access_log::give_ids();
        let started = trace::start(file, self.trace_bytes, process);
        let cannot = |error| format!("--trace: cannot write {}: {error}", file.display());
        Ok(Some(started.map_err(cannot)?))
    }
}
