//! What the log answers over HTTP. Everything here runs on the lanes
//! ("history-N"), many at a time; each waits for its own answer only.

use std::sync::Arc;

use super::executor::{Append, Executor, Read};
use crate::domain::error::Error;
use crate::domain::history::{From, Limits, Page};
use crate::http::{Request, Response};
use crate::wire::{history as json, status};

const PAGE: &str = "\
messenger: a message log.

POST /            {\"sender\": \"...\", \"text\": \"...\"}  ->  the last ten messages, this one last
GET /messages     ?limit=100&before=NUMBER pages back, ?after=NUMBER goes on; oldest first
GET /senders      the senders and how many messages each has sent
GET /healthz      200 while the database answers
";

/// How many senders `GET /senders` tells.
const SENDERS: i64 = 1000;

pub struct Api {
    pub writer: Arc<Executor<Append>>,
    pub reader: Arc<Executor<Read>>,
    pub limits: Limits,
}

impl Api {
    pub fn handle(&self, request: &Request) -> Response {
        let answer = match (request.path.as_str(), request.method.as_str()) {
            ("/" | "/messages", "POST") => self.append(request),
            ("/messages", "GET" | "HEAD") => {
                json::parse_page(&request.query).and_then(|page| self.reader.ask(Read::Page(page)))
            }
            ("/senders", "GET" | "HEAD") => self.reader.ask(Read::Senders(SENDERS)),
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
        self.writer.ask(Append(draft)).map(|ten| ten.json())
    }

    fn health(&self) -> Result<String, Error> {
        let (from, limit) = (From::End, 1);
        let read = self.reader.ask(Read::Page(Page { from, limit }));
        read.map(|_| r#"{"status":"SERVING"}"#.to_owned())
    }
}
