//! `messenger jobs send`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::Places;
use crate::cli::terminal::{plain, say};
use crate::cli::{Error, duration};
use crate::jobs::queue::Queue;
use crate::jobs::{desk, task};
use crate::key;

/// Send tasks to the queue, and print them once the queue has confirmed them
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// fact:N for a factorial, freq:TEXT for the most frequent letter, USER for a
    /// user's A/B group, or a text with spaces for upper case; a comma starts a new
    /// task, and \, is a comma
    #[arg(default_value = "New Task!")]
    task: Vec<OsString>,
    /// Do not split arguments at commas: each is one task
    #[arg(long, env = "MESSENGER_JOBS_NO_SPLIT")]
    no_split: bool,
    /// The message's id, 1 to 128 visible ASCII characters: sent again with the same id, the
    /// task keeps its first result
    #[arg(long, env = "MESSENGER_JOBS_ID", value_name = "ID", value_parser = desk::id)]
    id: Option<String>,
    /// Maximum wait for the queue's confirmation
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
  messenger jobs send --id order-17 fact:1000
  messenger jobs send --no-split 'freq:with a comma, and another one'
  AMQP_URL=amqp://user:password@broker:5672 messenger jobs send user42";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut messages = Vec::new();
        if self.id.is_some() && self.task.len() > 1 {
            return Err("--id: there has to be one argument with tasks".into());
        }
        for text in &self.task {
            let id = self.id.clone().unwrap_or_else(key::random);
            let text = text.as_bytes();
            messages.extend(match self.no_split {
                true => desk::messages_as(&id, &task::escape(text))?,
                false => desk::messages_as(&id, text)?,
            });
        }
        let queue = Queue::open(&self.places.queue()?)?;
        queue.publish(messages.clone(), self.timeout)?;
        for message in messages {
            for part in task::parts(&message.id, &message.body) {
                let text = String::from_utf8_lossy(&part.text);
                let line = format!("sent {} {}", part.id, plain(&text));
                say(&line)?;
            }
        }
        Ok(())
    }
}
