//! Sends for the HTTP loop; and sends again, with the same key, what may have been lost
//! on its way.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::link::Link;
use crate::chat::client::ChatClient;
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::key;
use crate::metrics;
use crate::retry::Retry;

/// The first and the longest wait before it is sent again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

pub struct Sender {
    pub client: ChatClient,
    pub link: Arc<Link>,
    /// The deadline of a send, all its calls together.
    pub timeout: Duration,
}

impl Sender {
    /// Sends a message, with its client's key or, to a server that knows keys, with a new
    /// one. Such a server is asked again after an unclear failure, if it still is the one
    /// to which the bridge was subscribed at the start: another one knows nothing of the
    /// key, and would deliver twice. While there is no subscription it is not waited for.
    ///
    /// # Errors
    /// As [`ChatClient::send_once`].
    pub fn send(&self, key: Option<&str>, author: &str, text: &str) -> Result<Timestamp, Error> {
        let (client, timeout) = (&self.client, self.timeout);
        let Some(epoch) = self.link.epoch() else {
            return match key {
                Some(key) => client.send_once(key, None, author, text, timeout),
                None => client.send(author, text, timeout),
            };
        };
        let key = key.map_or_else(key::random, str::to_owned);
        let deadline = Instant::now() + timeout;
        let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
        let mut result = client.send_once(&key, None, author, text, timeout);
        while let Err(error) = &result
            && is_unclear(error)
        {
            let wait = retry.next_wait();
            let left = deadline.saturating_duration_since(Instant::now() + wait);
            if left.is_zero() {
                return result.map_err(may_have_been_accepted);
            }
            // Nobody says when the server can be reached again.
            thread::sleep(wait);
            metrics::add(&metrics::REPEATED, &["bridge"], 1);
            tracing::debug!(%error, "sending again with the same key");
            result = client.send_once(&key, Some(&epoch), author, text, left);
            if let Err(error) = &result
                && matches!(
                    error.code,
                    Code::FailedPrecondition | Code::DeadlineExceeded
                )
            {
                return result.map_err(may_have_been_accepted);
            }
        }
        result
    }
}

/// Whether the server may have accepted the message all the same. One that shuts down
/// says that it has not.
fn is_unclear(error: &Error) -> bool {
    matches!(error.code, Code::Unavailable | Code::Unknown) && *error != Error::shutting_down()
}

fn may_have_been_accepted(mut error: Error) -> Error {
    error.message += "; the message may have been accepted or not";
    if error.code != Code::DeadlineExceeded {
        error.code = Code::Unavailable;
    }
    error
}
