//! The client of the stock ticker.

use std::time::Duration;

use futures_util::stream::AbortHandle;

use super::wire::{self, StockUpdate, TickerRequest, Update};
use crate::error::Error;
use crate::grpc::client::{Connection, Requests, Stream};

pub use super::market::{Hundredths, Quote, Symbol};

/// A client of a ticker. May be shared between threads.
#[derive(Clone)]
pub struct TickerClient {
    connection: Connection,
    timeout: Duration,
}

/// The asking half of a ticker stream. For one thread.
pub struct TickerRequests {
    requests: Requests<TickerRequest>,
    timeout: Duration,
}

/// The answering half; dropping it cancels the call. For one thread.
pub struct TickerStream {
    stream: Stream<StockUpdate>,
}

impl TickerClient {
    /// `timeout` is for each request until the transport has taken it.
    pub fn over(connection: Connection, timeout: Duration) -> Self {
        Self {
            connection,
            timeout,
        }
    }

    /// Opens a stream without symbols.
    ///
    /// # Errors
    /// As [`Connection::duplex`].
    pub fn open(&self) -> Result<(TickerRequests, TickerStream), Error> {
        let (requests, stream) = self.connection.duplex(&wire::SUBSCRIBE_TO_STOCK_UPDATES)?;
        let requests = TickerRequests {
            requests,
            timeout: self.timeout,
        };
        Ok((requests, TickerStream { stream }))
    }
}

impl TickerRequests {
    /// Asks for the updates of a symbol, or for more of them.
    ///
    /// # Errors
    /// As [`Requests::send`].
    pub fn ask(&mut self, symbol: &str) -> Result<(), Error> {
        self.requests.send(wire::request(symbol), self.timeout)
    }

    /// Says that no more symbols will come: the server ends the stream when all
    /// updates are out.
    ///
    /// # Errors
    /// As [`Requests::close`].
    pub fn close(&mut self) -> Result<(), Error> {
        self.requests.close(self.timeout)
    }
}

impl TickerStream {
    /// Blocks until there is an update. `None` when the server has ended the
    /// stream with OK.
    ///
    /// # Errors
    /// Why it ended otherwise; CANCELLED after [`AbortHandle::abort`].
    pub fn recv(&mut self) -> Result<Option<Update>, Error> {
        Ok(self.stream.recv()?.map(wire::update))
    }

    /// Ends the stream from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        self.stream.abort_handle()
    }
}
