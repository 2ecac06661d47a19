//! `messenger bench`: one file for each measurement, with its flags, how it is made
//! unless the comparison makes it too (`compare::load`), and the rows that come of it.

mod baseline;
mod fanout;
mod history;
mod jobs;
mod publish;
mod several;

use serde_json::Value;

use super::Error;
use super::rows::{Column, table};
use crate::compare::load::process::{Program, messenger};

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
    BaselineServer(baseline::Args),
    History(history::Args),
    Jobs(jobs::Args),
    Publish(publish::Args),
    Several(several::Args),
}

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        match &self.what {
            What::Fanout(args) => args.run(),
            What::BaselineServer(args) => args.run(),
            What::History(args) => args.run(),
            What::Jobs(args) => args.run(),
            What::Publish(args) => args.run(),
            What::Several(args) => args.run(),
        }
    }
}

/// How results are printed.
#[derive(clap::Args, Debug)]
struct Output {
    /// Print JSON instead of the table
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

impl Output {
    /// Prints these objects.
    fn rows(&self, rows: &[Value], columns: &[Column]) -> Result<(), Error> {
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(rows)?),
            false => println!("{}", table(rows, columns)),
        }
        Ok(())
    }
}

/// Starts this very program as a server, with these arguments too.
fn server(extra: &[String]) -> Result<Program, Error> {
    let this = std::env::current_exe()?;
    let mut server = messenger(&this, &["server", "--host", "127.0.0.1", "--port", "0"]);
    server.args(extra);
    Ok(Program::start(server)?)
}
