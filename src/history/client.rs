//! The client of the history service, by HTTP.
//!
//! The stream of new messages has an agent of its own, since it has to be closed from
//! another thread, and when it is silent.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::sync::Arc;
use std::time::Duration;

use ureq::{Agent, BodyReader, RequestBuilder};

use super::wire;
use crate::access::Bearer;
use crate::access_log;
use crate::error::{Code, Error};
use crate::http::agent::agent;
use crate::key::IDEMPOTENCY_KEY;
use crate::reload::Live;
use crate::tls;

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
    address: String,
    tls: Option<Arc<Live<tls::Client>>>,
    token: Option<Bearer>,
    timeout: Duration,
}

impl HistoryClient {
    /// `address` is host:port, or https://host:port; with `tls` both mean the latter.
    /// `timeout` bounds connecting, and, with a second more, each call: so a
    /// service's own timeout, which says what became of the message, comes first.
    /// The `token`, if there is one, is in each request.
    pub fn new(
        address: &str,
        tls: Option<Arc<Live<tls::Client>>>,
        token: Option<Bearer>,
        timeout: Duration,
    ) -> Self {
        Self {
            address: address.into(),
            tls,
            token,
            timeout,
        }
    }

    /// With the token, and the id of the request that this thread works on.
    fn with_headers<B>(&self, mut request: RequestBuilder<B>) -> RequestBuilder<B> {
        if let Some(token) = &self.token {
            request = request.header("Authorization", &**token.header());
        }
        match access_log::current() {
            Some(id) => request.header(access_log::HEADER, id),
            None => request,
        }
    }

    /// For one call or stream, with the certificates as they are now, and how URLs
    /// begin.
    fn agent(&self, time: Option<Duration>) -> (Agent, String) {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The service may have closed one that was kept, and then nobody
            // would know what became of a message.
            .max_idle_connections(0)
            .timeout_connect(Some(self.timeout))
            .timeout_per_read(time.is_none().then_some(SILENCE))
            // The body of a stream has no end, but its head is due.
            .timeout_recv_response(Some(self.timeout + Duration::from_secs(1)))
            .timeout_global(time);
        let tls = self.tls.as_ref().map(|tls| tls.get());
        agent(&self.address, tls.as_deref(), config)
    }

    fn caller(&self) -> (Agent, String) {
        self.agent(Some(self.timeout + Duration::from_secs(1)))
    }

    /// Appends a message; `body` is sent as it is. With the same `key` it may be sent
    /// again, and is stored once. Returns status and JSON of the answer, errors included.
    ///
    /// # Errors
    /// No answer.
    pub fn append(&self, body: &[u8], key: Option<&str>) -> Result<(u16, String), Error> {
        let (agent, start) = self.caller();
        let request = self.with_headers(agent.post(start + "/"));
        let request = request.header("Content-Type", "application/json");
        let request = match key {
            Some(key) => request.header(IDEMPOTENCY_KEY, key),
            None => request,
        };
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

    /// Whether the log is ready, for writes too.
    ///
    /// # Errors
    /// It is not, or does not answer.
    pub fn is_ready(&self) -> Result<(), Error> {
        self.get_ok("/readyz").map(drop)
    }

    /// Follows the messages after this number.
    ///
    /// # Errors
    /// No connection, or no stream.
    pub fn follow(&self, after: i64) -> Result<EventStream, Error> {
        let (agent, start) = self.agent(None);
        let request = agent.get(format!("{start}/events?after={after}"));
        let answer = self.with_headers(request).call();
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status() != 200 {
            return Err(self.unreachable(&format!("it answered {}", answer.status())));
        }
        let body = answer.into_body().into_with_config().limit(u64::MAX);
        Ok(EventStream {
            lines: BufReader::new(body.reader()),
            agent,
        })
    }

    fn get(&self, path: &str) -> Result<(u16, String), Error> {
        let (agent, start) = self.caller();
        self.answer(self.with_headers(agent.get(start + path)).call())
    }

    fn get_ok(&self, path: &str) -> Result<String, Error> {
        match self.get(path)? {
            (200, body) => Ok(body),
            (status, _) => Err(self.unreachable(&format!("it answered {path} with {status}"))),
        }
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
    lines: BufReader<BodyReader<'static>>,
    agent: Agent,
}

impl EventStream {
    /// A function that ends the stream from another thread.
    pub fn closer(&self) -> impl FnOnce() + Send + use<> {
        let agent = self.agent.clone();
        move || agent.shutdown()
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
            Err(error) => Err(match error.get_ref().and_then(|e| e.downcast_ref()) {
                Some(ureq::Error::Timeout(_)) => {
                    io::Error::other(format!("no data for {SILENCE:?}"))
                }
                _ => error,
            }),
        }
    }
}

fn lost(error: io::Error) -> Error {
    Error::unavailable(format!("the history service: {error}"))
}
