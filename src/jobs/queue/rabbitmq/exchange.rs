//! One exchange with the broker: how long it may take, and how it ends a connection.

use std::future::Future;
use std::time::Duration;

use smol::Timer;

/// Timeout of one exchange with the broker.
pub const EXCHANGE: Duration = Duration::from_secs(5);

/// Timeout of a confirmation: the broker writes to its disk first.
pub const CONFIRM: Duration = Duration::from_secs(10);

/// Timeout of closing a connection.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// The first and the longest wait between two tries.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);
pub const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub enum Over {
    #[error("the queue was dropped")]
    Closed,
    #[error("{0}")]
    Lost(String),
    #[error("{0}")]
    Broker(lapin::Error),
}

impl Over {
    pub fn lost(reason: &str) -> Self {
        Self::Lost(reason.into())
    }

    /// The broker's reply code, if that is its reason.
    pub fn code(&self) -> Option<u16> {
        let Self::Broker(error) = self else {
            return None;
        };
        match error.kind() {
            lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
            _ => None,
        }
    }

    /// Whether it is a message that lapin cannot read.
    pub fn is_unreadable(&self) -> bool {
        let is_parsing =
            |error: &lapin::ErrorKind| matches!(error, lapin::ErrorKind::ParsingError(_));
        matches!(self, Self::Broker(error) if is_parsing(error.kind()))
    }

    /// What a person has to do before another try can succeed.
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self.code()? {
            // The node that has it is not running.
            404 if self.to_string().contains("down or inaccessible") => return None,
            403 => {
                "give this user the permission (rabbitmqctl set_permissions), or let somebody \
                 who has it make both queues, NAME and NAME.dead"
            }
            404 | 530 => "make it first, or give another AMQP_URL or --queue-name",
            405 => "let the connection end that has the queue for itself",
            406 => "delete the queue, or give another --queue-name",
            _ => return None,
        })
    }
}

impl From<lapin::Error> for Over {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error)
    }
}

/// Blocks until the future is ready, or for so long.
pub fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Over> {
    let late = async {
        Timer::after(limit).await;
        Err(Over::Lost(format!("no answer within {limit:?}")))
    };
    smol::block_on(smol::future::or(async { Ok(future.await) }, late))
}
