//! `messenger send`: one chat message from a terminal.

use std::time::Duration;

use super::{Error, duration, target};
use crate::chat::bridge;
use crate::chat::client::ChatClient;
use crate::chat::json;

/// Send a chat message, and print the time that the server gave it
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The author of the message
    author: String,
    /// The text of the message
    text: String,
    #[command(flatten)]
    target: target::Args,
    /// Idempotency key, 1 to 128 visible ASCII characters: sent again with the same key, the
    /// message is delivered once. A Python server knows no keys
    #[arg(long, env = "MESSENGER_SEND_KEY", value_name = "KEY")]
    key: Option<String>,
    /// Deadline of the call
    #[arg(long, env = "MESSENGER_SEND_TIMEOUT", default_value = duration::text(bridge::Config::default().send_timeout), value_name = "TIME", value_parser = duration::parse)]
    timeout: Duration,
    /// A JSON object instead of the plain time
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  messenger send anna 'Hello, world'
  messenger send --key order-17 anna 'Once, however often this is run'
  messenger send --server chat.example:51075 --json anna Hello";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let client = ChatClient::over(self.target.connect()?);
        let (author, text, timeout) = (&self.author, &self.text, self.timeout);
        let time = client.send_once(self.key.as_deref(), None, author, text, timeout)?;
        if self.json {
            println!("{}", json::send_response(time));
        } else {
            println!("{}", time.rfc3339());
        }
        Ok(())
    }
}
