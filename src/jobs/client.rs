//! The jobs' clients: of the message server, and of queue and results ([`Desk`]).

use std::time::Duration;

use super::task::Task;
use super::wire;
use crate::error::{Code, Error};
use crate::grpc::client::Connection;

pub use super::desk::Desk;
pub use super::job::{Filter, Job, State};
pub use super::queue::Depth;

/// Whether the connection was lost while the server had the call: the server may have
/// crashed over it. The C core says so in its words alone.
pub fn is_cut(error: &Error) -> bool {
    const WORDS: [&str; 4] = ["Socket closed", "recvmsg:", "sendmsg:", "Connection reset"];
    let said = |words: &&str| error.message.starts_with(words);
    error.code == Code::Unavailable && WORDS.iter().any(said)
}

/// Whether the server has too much to do. The C core gives messages that are too large the
/// same code, in its own words.
pub fn is_overload(error: &Error) -> bool {
    error.code == Code::ResourceExhausted && !error.message.contains("message larger than max")
}

/// A client of a message server. May be shared between threads.
#[derive(Clone)]
pub struct MessageClient {
    connection: Connection,
    timeout: Duration,
}

impl MessageClient {
    /// `timeout` is for each call.
    pub fn over(connection: Connection, timeout: Duration) -> Self {
        Self {
            connection,
            timeout,
        }
    }

    /// The server's answer to a task: a group, digits, a letter and its count,
    /// or the text that it has processed.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn answer(&self, task: &Task) -> Result<String, Error> {
        let (connection, timeout) = (&self.connection, self.timeout);
        Ok(match task.clone() {
            Task::AssignGroup(user_id) => {
                let request = wire::ABRequest {
                    user_id,
                    ..Default::default()
                };
                connection.call(&wire::ASSIGN_AB, &request, timeout)?.group
            }
            Task::Factorial(n) => {
                let request = wire::FactorialRequest {
                    n,
                    ..Default::default()
                };
                connection.call(&wire::FACTORIAL, &request, timeout)?.result
            }
            Task::MostFrequentLetter(text) => {
                let request = wire::TextRequest {
                    text,
                    ..Default::default()
                };
                let response = connection.call(&wire::MOST_FREQUENT_LETTER, &request, timeout)?;
                format!("{} {}", response.letter, response.count)
            }
            Task::Process(text) => {
                let request = wire::MessageRequest {
                    text,
                    ..Default::default()
                };
                let response = connection.call(&wire::PROCESS_MESSAGE, &request, timeout)?;
                response.processed_text
            }
        })
    }
}
