//! The console's HTTP API. Runs on the lanes "web-lane-N", which block for a call
//! to the server, at most for its timeout, and never for a page.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::CALL_TIMEOUT;
use super::assets;
use super::hub::Hub;
use super::jobs;
use super::source::Events;
use crate::access::gate::{self, Door, Path};
use crate::access::{Need, Right};
use crate::chat::client::ChatClient;
use crate::chat::json;
use crate::error::{Code, Error};
use crate::history::client::HistoryClient;
use crate::history::wire as history;
use crate::http::{Request, Response};
use crate::jobs::client::Desk;
use crate::jobs::client::State;
use crate::jobs::wire;
use crate::key::IDEMPOTENCY_KEY;
use crate::status;
use crate::todo::client::TodoClient;
use crate::todo::wire as todo;

/// Content Security Policy: load and run only our own files, no framing by other
/// sites, no HTML made from text by scripts.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; object-src 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

#[derive(Clone)]
pub struct Api {
    pub chat: ChatClient,
    pub todo: TodoClient,
    pub history: Option<HistoryClient>,
    pub jobs: Option<Arc<Desk>>,
    pub hub: Arc<Hub>,
    pub door: Option<Arc<Door>>,
}

/// What a page needs, which shows everything.
const PAGE: &[Need] = &[
    Need::Right(Right::ChatRead),
    Need::Right(Right::TodoRead),
    Need::Right(Right::TickerRead),
    Need::Right(Right::JobsRead),
    Need::Right(Right::HistoryRead),
];

/// What each path needs.
pub const NEEDS: &[Path] = &[
    ("", "/api/chat", &[Need::Right(Right::ChatWrite)]),
    ("", "/api/tasks", &[Need::Right(Right::TodoWrite)]),
    ("", "/api/tasks/complete", &[Need::Right(Right::TodoWrite)]),
    ("", "/api/jobs/send", &[Need::Right(Right::JobsWrite)]),
    ("", "/api/jobs", &[Need::Right(Right::JobsRead)]),
    ("POST", "/api/history", &[Need::Right(Right::HistoryWrite)]),
    ("", "/api/history", &[Need::Right(Right::HistoryRead)]),
    ("", "/events", PAGE),
    ("", "/api/login", PAGE),
    ("", "/", &[Need::Token]),
    ("", "/jobs", &[Need::Token]),
    ("", "/api/session", &[Need::Token]),
    // Who has no session any more may leave too.
    ("", "/api/logout", &[]),
    ("", "/login", &[]),
    ("", "/assets/", &[]),
];

type Call = fn(&Api, &[u8]) -> Result<String, Error>;

/// The calls that pages make.
const CALLS: &[(&str, Call)] = &[
    ("/api/chat", Api::send),
    ("/api/tasks", Api::add_task),
    ("/api/jobs/send", Api::send_jobs),
    ("/api/tasks/complete", Api::complete_task),
];

impl Api {
    pub fn handle(&self, request: &Request) -> Response {
        self.route(request)
            .with_header("Content-Security-Policy", POLICY)
            .with_header("X-Content-Type-Options", "nosniff")
            .with_header("Referrer-Policy", "no-referrer")
            .with_header("Cross-Origin-Resource-Policy", "same-origin")
    }

    fn route(&self, request: &Request) -> Response {
        let (path, method) = (request.path.as_str(), request.method.as_str());
        if let Some((_, call)) = CALLS.iter().find(|(known, _)| *known == path) {
            return match method {
                "POST" => self.call(*call, request),
                _ => Response::wrong_method("POST"),
            };
        }
        match (path, method) {
            ("/api/history", "POST") => json_only(request).unwrap_or_else(|| {
                let key = request.header(IDEMPOTENCY_KEY);
                self.history(|client| client.append(&request.body, key))
            }),
            ("/api/history", "GET") => match history::parse_page(&request.query) {
                Ok(page) => self.history(|client| client.page(page)),
                Err(error) => answer(Err(error)),
            },
            ("/api/jobs", "GET") => self.list_jobs(&request.query),
            ("/api/jobs", _) => Response::wrong_method("GET"),
            ("/api/history", _) => Response::wrong_method("GET, POST"),
            ("/api/login" | "/api/logout", "POST") => self.session(request),
            ("/api/login" | "/api/logout", _) => Response::wrong_method("POST"),
            ("/api/session", "GET") => {
                let login = self.door.as_ref().is_some_and(|door| door.has_login());
                answer(Ok((200, json!({ "login": login }).to_string())))
            }
            ("/api/session", _) => Response::wrong_method("GET"),
            ("/events", "GET") => self.events(request),
            ("/events", _) => Response::wrong_method("GET"),
            _ => match (assets::find(request), method) {
                (Some(asset), "GET" | "HEAD") => asset,
                (Some(_), _) => Response::wrong_method("GET, HEAD"),
                (None, _) => Response::error(404, "NOT_FOUND", format!("there is no {path}")),
            },
        }
    }

    /// Begins or ends a session.
    fn session(&self, request: &Request) -> Response {
        let none = || Error::new(Code::Unimplemented, "there is no login here");
        let cookie = self.door.as_ref().ok_or_else(none).and_then(|door| {
            match request.path == gate::LOGIN {
                true => door.log_in(request.header("authorization")),
                false => door.log_out(request.header("cookie")).ok_or_else(none),
            }
        });
        match cookie {
            Ok(cookie) => answer(Ok((200, "{}".into()))).with_header("Set-Cookie", cookie),
            Err(error) => answer(Err(error)),
        }
    }

    fn call(&self, call: Call, request: &Request) -> Response {
        if let Some(refusal) = json_only(request) {
            return refusal;
        }
        let answered = call(self, &request.body).map_err(Error::for_clients);
        answer(answered.map(|body| (200, body)))
    }

    /// Forwards the answer of the history service, errors included.
    fn history(
        &self,
        call: impl FnOnce(&HistoryClient) -> Result<(u16, String), Error>,
    ) -> Response {
        let missing = || Error::new(Code::Unimplemented, "this console has no history service");
        let called = self.history.as_ref().ok_or_else(missing).and_then(call);
        // The token that is wrong is the console's.
        let refused = |(status, _): &(u16, String)| [401, 403].contains(status);
        answer(match called.as_ref().is_ok_and(refused) {
            true => Err(Error::unavailable(
                "the log refuses the token of this console",
            )),
            false => called,
        })
    }

    fn jobs(&self) -> Result<&Desk, Error> {
        let missing = || Error::new(Code::Unimplemented, "this console has no jobs");
        self.jobs.as_deref().ok_or_else(missing)
    }

    fn send_jobs(&self, body: &[u8]) -> Result<String, Error> {
        let texts = wire::parse_tasks(body)?;
        let ids = self.jobs()?.send(&texts, CALL_TIMEOUT)?;
        Ok(json!({ "ids": ids }).to_string())
    }

    /// All of one job by its `id`, or the newest ones in a `state`.
    fn list_jobs(&self, query: &str) -> Response {
        let list = || {
            let all = self.jobs()?;
            match (parameter(query, "id"), parameter(query, "state")) {
                (Some(id), _) => jobs::whole(all, &id),
                (None, None) => jobs::newest(all, None),
                (None, Some(name)) => {
                    let wrong = || Error::invalid("state: has to be queued, done, failed or dead");
                    let state = State::named(&name).ok_or_else(wrong)?;
                    jobs::newest(all, Some(state))
                }
            }
        };
        answer(list().map(|value| (200, value.to_string())))
    }

    fn send(&self, body: &[u8]) -> Result<String, Error> {
        let (author, text) = json::parse_send_request(body)?;
        let time = self.chat.send(&author, &text, CALL_TIMEOUT)?;
        Ok(json::send_response(time))
    }

    fn add_task(&self, body: &[u8]) -> Result<String, Error> {
        let task = self.todo.add(&todo::parse_title(body)?)?;
        Ok(todo::task_json(&task).to_string())
    }

    fn complete_task(&self, body: &[u8]) -> Result<String, Error> {
        self.todo.complete(todo::parse_id(body)?)?;
        Ok(json!({ "success": true }).to_string())
    }

    /// The header Last-Event-ID is newer than the parameter in the URL.
    fn events(&self, request: &Request) -> Response {
        let after = request.header("last-event-id").map(Cow::from);
        let after = after.or_else(|| parameter(&request.query, "after"));
        let symbols = parameter(&request.query, "symbols").unwrap_or_default();
        let symbols = symbols.split(',').filter(|symbol| !symbol.is_empty());
        match self.hub.open(after.as_deref(), symbols) {
            Ok(page) => Response::stream("text/event-stream", Events::new(page))
                .with_header("Cache-Control", "no-store"),
            Err(_) => answer(Err(Error::shutting_down())),
        }
    }
}

/// Refuses a body whose Content-Type is not JSON (CSRF): other sites' pages can
/// post text and forms to here, but not JSON.
fn json_only(request: &Request) -> Option<Response> {
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let message = "Content-Type: has to be application/json";
    Some(Response::error(415, "INVALID_ARGUMENT", message))
}

/// The value of a parameter in a query, decoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut fields = form_urlencoded::parse(query.as_bytes());
    fields.find(|(key, _)| key == name).map(|(_, value)| value)
}

fn answer(result: Result<(u16, String), Error>) -> Response {
    match result {
        Ok((status, body)) => Response::json(status, body).with_header("Cache-Control", "no-store"),
        Err(Error { code, message, .. }) => {
            Response::error(status::http(code), status::name(code), message)
        }
    }
}
