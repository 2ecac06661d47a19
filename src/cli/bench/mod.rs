//! `messenger bench`: one file for each measurement.

mod fanout;

use super::Error;

/// Measure what things cost on this machine
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Fanout(fanout::Args),
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Fanout(args) => args.run(),
        }
    }
}
