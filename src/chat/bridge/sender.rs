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
    /// one. Such a server is asked again after an unclear failure, but none of another
    /// epoch, which would deliver again. Where no subscription is live, nobody is waited
    /// for.
    ///
    /// # Errors
    /// As [`ChatClient::send_once`]; UNAVAILABLE for another epoch.
    pub fn send(&self, key: Option<&str>, author: &str, text: &str) -> Result<Timestamp, Error> {
        let (epoch, deadline) = (self.link.epoch(), Instant::now() + self.timeout);
        let made = epoch.as_ref().map(|_| key::random());
        let key = key.or(made.as_deref());
        let send = |epoch: Option<&str>| {
            let left = deadline.saturating_duration_since(Instant::now());
            self.client.send_once(key, epoch, author, text, left)
        };
        let (mut result, mut again) = (send(None), false);
        let mut retry = Retry::new(BACKOFF.0, BACKOFF.1);
        while let (Err(error), Some(epoch)) = (&result, &epoch)
            && is_unclear(error)
        {
            let wait = retry.next_wait();
            again = true;
            if Instant::now() + wait >= deadline {
                break;
            }
            // Nobody says when the server can be reached again.
            thread::sleep(wait);
            metrics::add(&metrics::REPEATED, &["bridge"], 1);
            result = send(Some(epoch));
        }
        result.map_err(|mut error| {
            if again {
                error.message += "; the message may have been accepted or not";
            }
            if error.code == Code::FailedPrecondition {
                error.code = Code::Unavailable;
            }
            error
        })
    }
}

/// Whether the server may have accepted the message all the same. One that shuts down
/// says that it has not.
fn is_unclear(error: &Error) -> bool {
    matches!(error.code, Code::Unavailable | Code::Unknown) && *error != Error::shutting_down()
}
