//! `messenger bench floor-server`: the baseline.

use crate::cli::{Error, signals};
use crate::compare::load::baseline;

/// Run the baseline: a chat server without stream threads and without limits
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
        let server = baseline::start(self.port)?;
        for port in server.ports() {
            println!("baseline server listening on 127.0.0.1:{port}");
        }
        stop.recv()?;
        // It has no graceful shutdown.
        server.shut_down();
        Ok(())
    }
}
