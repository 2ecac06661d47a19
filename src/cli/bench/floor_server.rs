//! `messenger bench floor-server`

use crate::cli::{Error, signals};
use crate::compare::load::floor;

/// A chat server without stream threads and without limits, to measure against
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Port of the loopback interface, 0 for any
    #[arg(
        long,
        env = "MESSENGER_BENCH_FLOOR_PORT",
        default_value_t = 0,
        value_name = "PORT"
    )]
    port: u16,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench floor-server --port 50999
  messenger bench fanout --server localhost:50999";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let server = floor::start(self.port)?;
        for port in server.ports() {
            println!("floor server listening on 127.0.0.1:{port}");
        }
        stop.recv()?;
        // Its streams have no ordered end.
        server.shut_down();
        Ok(())
    }
}
