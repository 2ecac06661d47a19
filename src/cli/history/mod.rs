//! `messenger history`: the log, and its load.

pub mod load;
mod serve;

use super::Error;

/// Run a message log over HTTP, or put load on one and check its answers
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Serve(Box<serve::Args>),
    Load(load::Args),
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Serve(args) => args.run(),
            What::Load(args) => args.run(),
        }
    }
}
