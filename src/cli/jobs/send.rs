//! `messenger jobs send`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{Places, plain};
use crate::cli::{Error, duration};
use crate::jobs::queue::{Outgoing, Queue};

/// Send tasks, and say so once the queue has them for good
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// fact:N, freq:TEXT, or a user to put into a group; one argument is one task
    #[arg(required = true)]
    task: Vec<OsString>,
    #[command(flatten)]
    places: Places,
    /// How long to try when the broker is not there
    #[arg(long, env = "MESSENGER_JOBS_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  messenger jobs send user42 fact:1000 freq:abracadabra
  messenger jobs send --queue rabbitmq 'freq:one task, with a comma'
  AMQP_URL=amqp://user:password@broker:5672 messenger jobs send user42";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let queue = Queue::open(&self.places.queue()?)?;
        let task = |task: &OsString| Outgoing::new(task.as_bytes().to_vec());
        let tasks: Vec<_> = self.task.iter().map(task).collect();
        let ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
        queue.publish(tasks, self.timeout)?;
        for (id, task) in ids.iter().zip(&self.task) {
            println!("sent {id} {}", plain(&task.to_string_lossy()));
        }
        Ok(())
    }
}
