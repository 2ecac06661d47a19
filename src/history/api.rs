//! What the log answers over HTTP. Everything here runs on the lanes
//! ("history-N"), many at a time; each waits for its own answer only.

use std::sync::Arc;

use super::entry::{From, Limits, Page};
use super::executor::Executor;
use super::tail::Tail;
use super::task::{Append, Read};
use super::wire as json;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::status;

const PAGE: &str = "\
messenger: a message log.

POST /            {\"sender\": \"...\", \"text\": \"...\"}  ->  the last ten messages, this one last
GET /messages     ?limit=100&before=NUMBER pages back, ?after=NUMBER goes on; oldest first
GET /events       server-sent events: each new message when it is stored, ?after=NUMBER from there on
GET /senders      the senders and how many messages each has sent
GET /healthz      200 while the database answers
";

/// How many senders `GET /senders` tells.
const SENDERS: i64 = 1000;

pub struct Api {
    pub writer: Arc<Executor<Append>>,
    pub reader: Arc<Executor<Read>>,
    pub tail: Arc<Tail>,
    pub limits: Limits,
}

impl Api {
    pub fn handle(&self, request: &Request) -> Response {
        let answer = match (request.path.as_str(), request.method.as_str()) {
            ("/" | "/messages", "POST") => self.append(request),
            ("/messages", "GET" | "HEAD") => self.page(request),
            ("/senders", "GET" | "HEAD") => {
                let senders = self.reader.senders(SENDERS);
                senders.map(|senders| json::senders(&senders))
            }
            ("/events", "GET") => match self.events(request) {
                Ok(stream) => return stream,
                Err(error) => Err(error),
            },
            ("/events", _) => return Response::wrong_method("GET"),
            ("/healthz", "GET" | "HEAD") => self.health(),
            ("/", "GET" | "HEAD") => return Response::text(200, PAGE),
            ("/" | "/messages", _) => return Response::wrong_method("GET, HEAD, POST"),
            ("/senders" | "/healthz", _) => return Response::wrong_method("GET, HEAD"),
            (path, _) => return Response::error(404, "NOT_FOUND", format!("there is no {path}")),
        };
        match answer {
            Ok(body) => Response::json(200, body),
            Err(Error { code, message }) => {
                Response::error(status::http(code), status::name(code), message)
            }
        }
    }

    fn append(&self, request: &Request) -> Result<String, Error> {
        let draft = json::parse_draft(&request.body)?;
        self.limits.check(&draft)?;
        let ten = self.writer.ask(Append(draft))?;
        self.tail.look();
        Ok(ten.json())
    }

    fn page(&self, request: &Request) -> Result<String, Error> {
        let page = self.reader.page(json::parse_page(&request.query)?)?;
        let messages: Vec<_> = page.iter().map(json::message).collect();
        Ok(json::array(messages.iter().map(String::as_str)))
    }

    /// The client's own word for where it stands is newer than the address.
    fn events(&self, request: &Request) -> Result<Response, Error> {
        let after = json::parse_events(&request.query, request.header("last-event-id"))?;
        let follower = self.tail.follow(after)?;
        let stream = Response::stream("text/event-stream", follower);
        Ok(stream.with_header("Cache-Control", "no-store"))
    }

    fn health(&self) -> Result<String, Error> {
        let (from, limit) = (From::End, 1);
        let read = self.reader.page(Page { from, limit });
        read.map(|_| r#"{"status":"SERVING"}"#.to_owned())
    }
}
