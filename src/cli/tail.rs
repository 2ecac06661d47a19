//! `messenger tail`: the stream on a terminal.

use std::io::{self, Write as _};
use std::time::Duration;

use super::{Error, signals, target};
use crate::domain::chat::Message;
use crate::domain::error::Code;
use crate::grpc::client::{ChatClient, Proof};
use crate::wire::json;

/// Print the chat as it happens
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// One JSON object a line
    #[arg(long, env = "MESSENGER_JSON")]
    json: bool,
    /// End after so many messages
    #[arg(long, env = "MESSENGER_COUNT", value_name = "N")]
    count: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  messenger tail
  messenger tail --json | jq .text
  messenger tail --count 1                end after the first message";

const TIMEOUT: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(200);

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let client = ChatClient::over(self.target.connect());
        let (mut stream, proof) = client.subscribe(TIMEOUT, SETTLE)?;
        let abort = stream.abort_handle();
        std::thread::Builder::new()
            .name("tail-stop".into())
            .spawn(move || {
                let _ = stop.recv();
                abort.abort();
            })?;
        match proof {
            Proof::Acknowledged => eprintln!("subscribed to {}", self.target.server),
            Proof::Settled => eprintln!(
                "subscribed to {}, as far as can be known",
                self.target.server
            ),
        }
        let mut out = io::stdout().lock();
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let message = match stream.recv() {
                Ok(message) => message,
                Err(error) if error.code == Code::Cancelled => break,
                Err(error) => return Err(error.into()),
            };
            match writeln!(out, "{}", self.line(&message)).and_then(|()| out.flush()) {
                // The reader of a pipe has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written?,
            }
            left -= 1;
        }
        Ok(())
    }

    fn line(&self, message: &Message) -> String {
        if self.json {
            return json::message(message);
        }
        // What people write must not be able to move the terminal's cursor.
        let safe = |text: &str| -> String {
            let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
            text.chars().map(plain).collect()
        };
        format!(
            "{}  {}: {}",
            message.send_time.rfc3339(),
            safe(&message.author),
            safe(&message.text)
        )
    }
}
