//! `messenger tail`: the chat on a terminal.

use std::io;
use std::time::Duration;

use super::terminal::{plain, print_line};
use super::{Error, signals, target};
use crate::chat::client::ChatClient;
use crate::chat::json;
use crate::chat::message::Message;
use crate::error::Code;
use crate::grpc::client::Proof;

/// Print chat messages as they come
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// One JSON object a line
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// Exit after so many messages
    #[arg(long, env = "MESSENGER_COUNT", value_name = "N")]
    count: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  messenger tail
  messenger tail --json | jq .text
  messenger tail --server chat.example:51075 --tls-ca ca.pem
  messenger tail --count 1                exit after the first message";

const TIMEOUT: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(200);

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let client = ChatClient::over(self.target.connect()?);
        let (mut stream, proof) = client.subscribe(TIMEOUT, SETTLE)?;
        let abort = stream.abort_handle();
        signals::on_stop(stop, "tail-stop", move || abort.abort())?;
        match proof {
            Proof::Acknowledged => eprintln!("subscribed to {}", self.target.address.server),
            Proof::Settled => {
                eprintln!("subscribed to {} (unconfirmed)", self.target.address.server);
            }
        }
        let mut out = io::stdout().lock();
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let message = match stream.recv() {
                Ok(message) => message,
                Err(error) if error.code == Code::Cancelled => break,
                Err(error) => return Err(error.into()),
            };
            if !print_line(&mut out, &self.line(&message))? {
                break;
            }
            left -= 1;
        }
        Ok(())
    }

    fn line(&self, message: &Message) -> String {
        if self.json {
            return json::message(message);
        }
        format!(
            "{}  {}: {}",
            message.send_time.rfc3339(),
            plain(&message.author),
            plain(&message.text)
        )
    }
}
