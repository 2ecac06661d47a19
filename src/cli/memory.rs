//! `--memory-limit`, for every command that serves others.

use crate::budget::Budget;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Args {
    /// Most memory for requests that come in and answers that are not taken yet, over all clients
    #[arg(long, env = "MESSENGER_MEMORY_LIMIT", default_value_t = Budget::DEFAULT as u64, value_name = "BYTES",
          value_parser = clap::value_parser!(u64).range(1 << 20..))]
    memory_limit: u64,
}

impl Args {
    /// The process's budget; to be asked for once, since each counts by itself.
    pub fn budget(&self) -> Budget {
        Budget::new(usize::try_from(self.memory_limit).unwrap_or(usize::MAX))
    }
}
