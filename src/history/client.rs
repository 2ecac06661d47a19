//! The client of the history service, by HTTP.
//!
//! Calls use ureq. The stream of new messages is read from a socket of its own,
//! since it has to be closed from another thread, and when it is silent.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::wire;
use crate::access::Bearer;
use crate::error::{Code, Error};

pub use super::entry::{Message, Page, Sender};

/// The service's keepalive interval is 5 s; this much silence means that it hangs,
/// or that its machine is gone.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest line of the stream, which is one message.
const LINE_BYTES: u64 = 4 << 20;

/// The largest answer: a page's 4 MiB of text, when each character is escaped.
const ANSWER_BYTES: u64 = 32 << 20;

/// Calls may be made from any thread; each has its own connection.
#[derive(Clone, Debug)]
pub struct HistoryClient {
    /// host:port
    address: String,
    agent: ureq::Agent,
    timeout: Duration,
    token: Option<Bearer>,
}

impl HistoryClient {
    /// `timeout` bounds connecting, and, with a second more, each call: so a
    /// service's own timeout, which says what became of the message, comes first.
    /// Each has the token, if there is one.
    pub fn new(address: &str, timeout: Duration, token: Option<Bearer>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // The service may have closed one that was kept, and then nobody
            // would know what became of a message.
            .max_idle_connections(0)
            .timeout_global(Some(timeout + Duration::from_secs(1)));
        Self {
            address: address.into(),
            agent: config.build().new_agent(),
            timeout,
            token,
        }
    }

    /// Appends a message; `body` is sent as it is. Returns status and JSON of
    /// the answer, errors included.
    ///
    /// # Errors
    /// No answer.
    pub fn append(&self, body: &[u8]) -> Result<(u16, String), Error> {
        let request = self.with_token(self.agent.post(self.url("/")));
        let request = request.header("Content-Type", "application/json");
        self.answer(request.send(body)).map_err(|mut error| {
            error.message += "; the message may have been stored or not";
            error
        })
    }

    /// A page of the log, likewise.
    ///
    /// # Errors
    /// No answer.
    pub fn page(&self, page: Page) -> Result<(u16, String), Error> {
        self.get(&format!("/messages?{}", wire::page_query(page)))
    }

    /// The newest messages, at most `most`, oldest first.
    ///
    /// # Errors
    /// No answer, or none that could be used.
    pub fn newest(&self, most: usize) -> Result<Vec<Message>, Error> {
        let body = self.get_ok(&format!("/messages?limit={most}"))?;
        wire::parse_messages(&body)
    }

    /// The senders with the most messages.
    ///
    /// # Errors
    /// No answer, or none that could be used.
    pub fn senders(&self) -> Result<Vec<Sender>, Error> {
        wire::parse_senders(&self.get_ok("/senders")?)
    }

    /// Follows the messages after this number.
    ///
    /// # Errors
    /// No connection, or no stream.
    pub fn follow(&self, after: i64) -> Result<EventStream, Error> {
        let connection = self.connect().map_err(|e| self.unreachable(&e))?;
        let open = || -> io::Result<EventStream> {
            connection.set_read_timeout(Some(SILENCE))?;
            connection.set_write_timeout(Some(SILENCE))?;
            // Version 1.0, so that the answer is not chunked.
            let Self { address, .. } = self;
            let head = format!("GET /events?after={after} HTTP/1.0\r\nHost: {address}\r\n");
            let token = self.token.as_ref().map(|token| {
                let value = token.header();
                format!("Authorization: {value}\r\n")
            });
            let head = head + &token.unwrap_or_default() + "\r\n";
            (&connection).write_all(head.as_bytes())?;
            let mut stream = EventStream {
                lines: BufReader::new(connection),
            };
            let status = stream.line()?;
            if status.split(' ').nth(1) != Some("200") {
                return Err(io::Error::other(format!("it answered {status}")));
            }
            while !stream.line()?.is_empty() {}
            Ok(stream)
        };
        open().map_err(|error| self.unreachable(&error))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(ErrorKind::NotFound, "there is no such address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn get(&self, path: &str) -> Result<(u16, String), Error> {
        self.answer(self.with_token(self.agent.get(self.url(path))).call())
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", &**token.header()),
            None => request,
        }
    }

    fn get_ok(&self, path: &str) -> Result<String, Error> {
        match self.get(path)? {
            (200, body) => Ok(body),
            (status, _) => Err(self.unreachable(&format!("it answered {path} with {status}"))),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, String), Error> {
        let read = |mut answer: ureq::http::Response<ureq::Body>| {
            let status = answer.status().as_u16();
            let body = answer.body_mut().with_config().limit(ANSWER_BYTES);
            Ok((status, body.read_to_string()?))
        };
        answer.and_then(read).map_err(|error| {
            let code = match error {
                ureq::Error::Timeout(_) => Code::DeadlineExceeded,
                _ => Code::Unavailable,
            };
            Error::new(code, self.unreachable(&error).message)
        })
    }

    fn unreachable(&self, reason: &dyn std::fmt::Display) -> Error {
        let address = &self.address;
        Error::unavailable(format!("the history service at {address}: {reason}"))
    }
}

/// The new messages of the log, in their order.
pub struct EventStream {
    lines: BufReader<TcpStream>,
}

impl EventStream {
    /// A function that ends the stream from another thread.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn closer(&self) -> Result<impl FnOnce() + Send + use<>, Error> {
        let connection = self.lines.get_ref().try_clone().map_err(lost)?;
        Ok(move || {
            let _ = connection.shutdown(Shutdown::Both);
        })
    }

    /// Blocks for the next message; `heard` is called for whatever comes, beats too.
    ///
    /// # Errors
    /// The stream has ended, is silent, or is malformed.
    pub fn recv(&mut self, heard: impl Fn()) -> Result<Message, Error> {
        loop {
            let line = self.line().map_err(lost)?;
            heard();
            // Each message is one line; its number is in it too.
            if let Some(data) = line.strip_prefix("data: ") {
                return wire::parse_message(data);
            }
        }
    }

    /// The next line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let mut bounded = self.lines.by_ref().take(LINE_BYTES);
        match bounded.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {
                line.truncate(line.trim_end_matches(['\r', '\n']).len());
                Ok(line)
            }
            Ok(_) if line.is_empty() => Err(io::Error::other("the stream ended")),
            Ok(_) => Err(io::Error::other("the stream ended within a line")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let silence = format!("no data for {SILENCE:?}");
                Err(io::Error::new(ErrorKind::TimedOut, silence))
            }
            Err(error) => Err(error),
        }
    }
}

fn lost(error: io::Error) -> Error {
    Error::unavailable(format!("the history service: {error}"))
}
