//! `messenger bench`: one file for each measurement.

mod baseline_server;
mod fanout;
mod history;
mod jobs;
mod publish;

use super::Error;

/// Measure speed and cost on this machine
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Fanout(fanout::Args),
    #[command(name = "floor-server")]
    BaselineServer(baseline_server::Args),
    History(history::Args),
    Jobs(jobs::Args),
    Publish(publish::Args),
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Fanout(args) => args.run(),
            What::BaselineServer(args) => args.run(),
            What::History(args) => args.run(),
            What::Jobs(args) => args.run(),
            What::Publish(args) => args.run(),
        }
    }
}
