//! `messenger jobs send`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{Places, plain};
use crate::cli::{Error, duration};
use crate::jobs::queue::Queue;
use crate::jobs::{desk, task};

/// Send tasks, and say so once the queue has them for good
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// fact:N, freq:TEXT, a user to put into a group, or a text with blanks to
    /// process; a comma starts a new task, and \, is a comma
    #[arg(default_value = "New Task!")]
    task: Vec<OsString>,
    /// One argument is one task, with all its commas
    #[arg(long, env = "MESSENGER_JOBS_NO_SPLIT")]
    no_split: bool,
    /// How long to try when the broker is not there
    #[arg(long, env = "MESSENGER_JOBS_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    places: Places,
}

const EXAMPLES: &str = "\
Examples:
  messenger jobs send user42 fact:1000 freq:abracadabra
  messenger jobs send 'user42, fact:6, freq:abracadabra'      three tasks
  messenger jobs send 'freq:with a comma\\, and another one'  one task
  messenger jobs send --no-split 'freq:with a comma, and another one'
  AMQP_URL=amqp://user:password@broker:5672 messenger jobs send user42";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut messages = Vec::new();
        for text in &self.task {
            let text = text.as_bytes();
            messages.extend(match self.no_split {
                true => desk::messages(&task::escape(text))?,
                false => desk::messages(text)?,
            });
        }
        let queue = Queue::open(&self.places.queue()?)?;
        queue.publish(messages.clone(), self.timeout)?;
        for message in messages {
            for part in task::parts(&message.id, &message.body) {
                let text = String::from_utf8_lossy(&part.text);
                println!("sent {} {}", part.id, plain(&text));
            }
        }
        Ok(())
    }
}
