//! `messenger tail`: the chat on a terminal.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::terminal::{plain, print_line};
use super::{Error, duration, signals, target};
use crate::chat::client::{ChatClient, ChatStream};
use crate::chat::json;
use crate::chat::message::Message;
use crate::error::{Code, Error as CallError};
use crate::grpc::client::Proof;
use crate::retry::Retry;
use crate::sync::lock;

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
    /// How long to try again when the connection is lost; 0 ends at once
    #[arg(long, env = "MESSENGER_TAIL_RECONNECT", default_value = "30s", value_name = "TIME", value_parser = duration::parse)]
    reconnect: Duration,
}

const EXAMPLES: &str = "\
Examples:
  messenger tail
  messenger tail --json | jq .text
  messenger tail --server chat.example:51075 --tls-ca ca.pem
  messenger tail --count 1                exit after the first message
  messenger tail --reconnect 0            exit when the connection is lost";

const TIMEOUT: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(200);

/// The first and the longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let stop = signals::stop()?;
        let client = ChatClient::over(self.target.connect()?);
        let (mut stream, proof) = client.subscribe(TIMEOUT, SETTLE)?;
        // The stream of the moment, which a stop ends.
        let current = Arc::new(Mutex::new(stream.abort_handle()));
        let (running, stopped) = bounded::<()>(0);
        let aborted = current.clone();
        signals::on_stop(stop, "tail-stop", move || {
            drop(running);
            lock(&aborted).abort();
        })?;
        let server = &self.target.address.server;
        match proof {
            Proof::Confirmed => eprintln!("subscribed to {server}"),
            Proof::Settled => eprintln!("subscribed to {server} (unconfirmed)"),
        }
        let mut out = io::stdout().lock();
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let message = match stream.recv() {
                Ok(message) => message,
                Err(error) if error.code == Code::Cancelled => break,
                Err(lost) => match self.again(&client, &stream, lost, &stopped)? {
                    Some(again) => {
                        stream = again;
                        *lock(&current) = stream.abort_handle();
                        if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                            break;
                        }
                        continue;
                    }
                    None => break,
                },
            };
            if !print_line(&mut out, &self.line(&message))? {
                break;
            }
            left -= 1;
        }
        Ok(())
    }

    /// Subscribes again behind the last message of a stream that was lost. `None` when
    /// the command is to end.
    fn again(
        &self,
        client: &ChatClient,
        stream: &ChatStream,
        lost: CallError,
        stopped: &Receiver<()>,
    ) -> Result<Option<ChatStream>, CallError> {
        let (mut error, since) = (lost, Instant::now());
        let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
        while !error.is_refusal() && since.elapsed() < self.reconnect {
            if retry.is_news(&error) {
                eprintln!("trying again: {error}");
            }
            if retry.wait(stopped).is_err() {
                return Ok(None);
            }
            match client.subscribe_after(stream.cursor(), TIMEOUT, SETTLE) {
                Ok((again, _)) => {
                    match again.resumed() {
                        true => eprintln!("subscribed again; nothing was missed"),
                        false => eprintln!("subscribed again; messages may have been missed"),
                    }
                    return Ok(Some(again));
                }
                Err(failed) => error = failed,
            }
        }
        Err(error)
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
