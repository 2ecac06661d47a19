//! The message log's HTTP API. Runs on the lanes ("history-N"), several at a time;
//! each blocks for its own answer only.

use std::sync::Arc;

use super::entry::{self as rules, Limits, Message, Page};
use super::executor::Executor;
use super::operation::{Append, Read};
use super::tail::Tail;
use super::wire as json;
use crate::access::gate::Path;
use crate::access::{Need, Right};
use crate::budget::{Budget, Hold};
use crate::db::log::Keeper;
use crate::error::{Code, Error};
use crate::http::{Request, Response};
use crate::key::IDEMPOTENCY_KEY;
use crate::readiness::Readiness;
use crate::status;

const PAGE: &str = "\
messenger: a message log.

POST /            {\"sender\": \"...\", \"text\": \"...\"}  ->  the last ten messages, this one last;
                  with Idempotency-Key: KEY it may be sent again, and is stored once
GET /messages     ?limit=100&before=NUMBER pages back, ?after=NUMBER goes on; oldest first
GET /events       server-sent events: each new message when it is stored, ?after=NUMBER from there on
GET /senders      the senders and how many messages each has sent
GET /healthz      200 while the database answers, and takes messages
";

/// Most senders in the answer to `GET /senders`.
const SENDERS: i64 = 1000;

/// What each path needs.
pub const NEEDS: &[Path] = &[
    ("POST", "/", &[Need::Right(Right::HistoryWrite)]),
    ("POST", "/messages", &[Need::Right(Right::HistoryWrite)]),
    ("", "/messages", &[Need::Right(Right::HistoryRead)]),
    ("", "/senders", &[Need::Right(Right::HistoryRead)]),
    ("", "/events", &[Need::Right(Right::HistoryRead)]),
    ("", "/", &[]),
    // The gate leaves it open to all.
    ("", "/healthz", &[]),
];

/// What has lanes of its own: not the reads that may take long.
pub fn is_quick(method: &str, path: &str) -> bool {
    method == "POST" || !matches!(path, "/messages" | "/senders")
}

pub struct Api {
    pub writer: Arc<Executor<Append>>,
    pub reader: Arc<Executor<Read>>,
    /// Not behind what others read.
    pub looker: Arc<Executor<Read>>,
    pub tail: Arc<Tail>,
    pub keeper: Arc<Keeper>,
    pub limits: Limits,
    pub memory: Budget,
    pub ready: Readiness,
}

impl Api {
    pub fn handle(&self, request: &Request) -> Response {
        let answer = match (request.path.as_str(), request.method.as_str()) {
            ("/" | "/messages", "POST") => self.append(request),
            ("/messages", "GET" | "HEAD") => self.page(request),
            ("/senders", "GET" | "HEAD") => {
                let senders = self.reader.senders(SENDERS);
                senders.map(|senders| Response::json(200, json::senders(&senders)))
            }
            ("/events", "GET") => self.events(request),
            ("/events", _) => return Response::wrong_method("GET"),
            ("/healthz", "GET" | "HEAD") => self.health(),
            ("/", "GET" | "HEAD") => return Response::text(200, PAGE),
            ("/" | "/messages", _) => return Response::wrong_method("GET, HEAD, POST"),
            ("/senders" | "/healthz", _) => return Response::wrong_method("GET, HEAD"),
            (path, _) => return Response::error(404, "NOT_FOUND", format!("there is no {path}")),
        };
        answer.unwrap_or_else(|Error { code, message, .. }| {
            Response::error(status::http(code), status::name(code), message)
        })
    }

    fn hold(&self, bytes: usize) -> Result<Hold, Error> {
        let hold = self.memory.take(bytes);
        hold.map_err(|full| Error::unavailable(full.to_string()))
    }

    fn append(&self, request: &Request) -> Result<Response, Error> {
        let draft = json::parse_draft(&request.body, request.header(IDEMPOTENCY_KEY))?;
        self.limits.check(&draft)?;
        // Before it is stored, so that the error may say that it was not.
        let hold = self.hold(request.body.len()).map_err(not_stored)?;
        let reply = match self.writer.ask(Append(Some(draft)))? {
            Err(taken) if taken.code == Code::AlreadyExists => {
                let name = status::name(taken.code);
                return Ok(Response::error(422, name, taken.message));
            }
            reply => reply?,
        };
        self.tail.look();
        self.keeper.look();
        Ok(reply.response(hold))
    }

    fn page(&self, request: &Request) -> Result<Response, Error> {
        let page = json::parse_page(&request.query)?;
        // And a piece of it as JSON, where a character may take six.
        let piece = Response::PIECE_BYTES + 6 * self.limits.most_bytes();
        let mut hold = self.hold(page.most_bytes(&self.limits) + piece)?;
        let messages = self.reader.page(page)?;
        hold.force(messages.iter().map(Message::bytes).sum());
        let is_empty = || Ok(self.reader.page(Page::newest())?.is_empty());
        let gone = rules::gone(&page, &messages, is_empty)?;
        let all = 0..messages.len();
        let answer = Response::array(Arc::new(messages), all, json::message, hold);
        Ok(match gone {
            Some((from, to)) => answer.with_header("X-Messenger-Gone", format!("{from}-{to}")),
            None => answer,
        })
    }

    /// The header Last-Event-ID is newer than the parameter `after`.
    fn events(&self, request: &Request) -> Result<Response, Error> {
        let after = json::parse_events(&request.query, request.header("last-event-id"))?;
        let follower = self.tail.follow(after)?;
        let stream = Response::stream("text/event-stream", follower);
        Ok(stream.with_header("Cache-Control", "no-store"))
    }

    fn health(&self) -> Result<Response, Error> {
        self.looker.page(Page::newest())?;
        let writes = self.ready.writes();
        writes.map_err(|reason| Error::unavailable(format!("the last write failed: {reason}")))?;
        Ok(Response::json(200, r#"{"status":"SERVING"}"#))
    }
}

fn not_stored(error: Error) -> Error {
    let message = format!("{}; the message was not stored", error.message);
    Error::new(error.code, message)
}
