//! `messenger send`: one message from a terminal.

use std::time::Duration;

use super::{Error, duration, target};
use crate::chat::client::ChatClient;
use crate::chat::json;

/// Send one message, and print the time that it was given
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Who says it
    author: String,
    /// What is said
    text: String,
    #[command(flatten)]
    target: target::Args,
    /// Deadline
    #[arg(long, env = "MESSENGER_SEND_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    /// A JSON object instead of the plain time
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  messenger send anna 'Hello, world'
  messenger send --server chat.example:51075 --json anna Hello";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let client = ChatClient::over(self.target.connect());
        let time = client.send(&self.author, &self.text, self.timeout)?;
        if self.json {
            println!("{}", json::send_response(time));
        } else {
            println!("{}", time.rfc3339());
        }
        Ok(())
    }
}
