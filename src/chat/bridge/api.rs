//! The bridge's HTTP API. Everything here runs on "http-loop", one
//! request after the other: to step through a request, break on [`Api::handle`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::postbox::{Flushed, Kept, Postbox};
use super::prefer::{MOST, Preference};
use super::sender::Sender;
use super::step::Stepping;
use crate::access::gate::Path;
use crate::access::{Need, Right};
use crate::budget::Budget;
use crate::chat::json;
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::http::{Asked, Request, Response};
use crate::key::{self, IDEMPOTENCY_KEY};
use crate::metrics;
use crate::status;
use crate::throttle::{Admission, Throttle};
use crate::trace::{self, Point, Way};

const PAGE: &str = "\
messenger: a bridge from HTTP to the gRPC chat (mes_grpc.MessengerServer).

POST /sendMessage           {\"author\": \"...\", \"text\": \"...\"}  ->  {\"sendTime\": \"...\"}
                            Idempotency-Key: ... makes it safe to send again
POST /getAndFlushMessages   all messages since the last call, as a JSON array
                            Prefer: wait=10 waits for one, 10 seconds at most;
                            Prefer: wait=10; min=3 waits for 3
";

/// What each path needs.
pub const NEEDS: &[Path] = &[
    ("", "/sendMessage", &[Need::Right(Right::ChatWrite)]),
    ("", "/getAndFlushMessages", &[Need::Right(Right::ChatRead)]),
    ("", "/", &[]),
];

pub struct Api {
    pub sender: Sender,
    pub postbox: Arc<Postbox>,
    pub link: Arc<Link>,
    pub memory: Budget,
    /// The time of the last message that this bridge has sent since a flush.
    pub last_sent: Timestamp,
    /// Lines about flushes that were lost.
    pub losses: Arc<Throttle<1>>,
    pub stepping: Option<Stepping>,
}

/// Most lines about lost flushes in a second; the next one has the count of the
/// others.
pub const LOSS_LINES: u32 = 5;

/// How long a flush waits for a message that this bridge itself has sent and
/// that is still on its way back.
const OWN_MESSAGE_WAIT: Duration = Duration::from_millis(500);

impl Api {
    pub fn handle(&mut self, request: &Request) -> Response {
        let asked = || format!("request: {} {}", request.method, request.path);
        self.stop(|| vec![asked(), text(&request.body)]);
        let response = self.answer(request);
        let size = |bytes| format!("{bytes} bytes of JSON");
        let body = || response.length.map_or_else(|| text(&response.body), size);
        self.stop(|| vec![format!("answer: {}", response.status), body()]);
        response
    }

    /// Stands still if somebody looks.
    fn stop(&self, lines: impl FnOnce() -> Vec<String>) {
        if let Some(stepping) = &self.stepping {
            let (postbox, live) = (self.postbox.size(), self.link.is_subscribed());
            stepping.stop(lines(), postbox, live, self.last_sent);
        }
    }

    fn answer(&mut self, request: &Request) -> Response {
        match (request.path.as_str(), request.method.as_str()) {
            ("/sendMessage", "POST") => self.send(request),
            ("/getAndFlushMessages", "POST") => self.flush(request),
            ("/", "GET" | "HEAD") => Response::text(200, PAGE),
            ("/sendMessage" | "/getAndFlushMessages", _) => Response::wrong_method("POST"),
            ("/", _) => Response::wrong_method("GET, HEAD"),
            (path, _) => Response::error(404, "NOT_FOUND", format!("there is no {path}")),
        }
    }

    fn send(&mut self, request: &Request) -> Response {
        let key = request.header(IDEMPOTENCY_KEY);
        let checked = key.map(key::checked).transpose();
        let sent = checked.and_then(|key| {
            let parsed = trace::during("parse", || json::parse_send_request(&request.body));
            let (author, text) = parsed?;
            let fields = || [format!("author: {author}"), format!("text: {text}")];
            self.stop(|| [vec!["gRPC call: SendMessage".into()], fields().into()].concat());
            let mut span = trace::span("SendMessage");
            let time = self.sender.send(key, &author, &text)?;
            span.arrow(Point::Step, Way::Message, [time.nanos().cast_unsigned()]);
            Ok(time)
        });
        match sent {
            Ok(time) => {
                // An answer that was given before may be older than what was sent since.
                let newest = key.map_or(time, |_| time.max(self.last_sent));
                self.last_sent = newest;
                let message = trace::is_on().then(|| time.nanos().cast_unsigned());
                Response {
                    message,
                    ..Response::json(200, json::send_response(time))
                }
            }
            Err(error) if error.code == Code::AlreadyExists => {
                Response::error(422, status::name(error.code), error.message)
            }
            Err(error) => refusal(&error.for_clients()),
        }
    }

    fn flush(&mut self, request: &Request) -> Response {
        let preference = Preference::of(&Asked {
            method: &request.method,
            path: &request.path,
            headers: &request.headers,
        });
        let least = preference.as_ref().map_or(0, |it| it.least);
        // Another flush, which has not waited, may have been here first.
        if request.waited && !self.postbox.has(least) {
            return Response::wait_again();
        }
        // Read your own writes: a client that sends and then flushes gets it.
        let own = std::mem::take(&mut self.last_sent);
        trace::during("wait for its own", || {
            self.link.wait_for(own, OWN_MESSAGE_WAIT);
        });
        self.stop(|| vec!["flush: takes all out of the postbox".into()]);
        let flushed = self.take();
        let hold = match self.memory.take(flushed.memory()) {
            Ok(hold) => hold,
            Err(full) => {
                let lost = self.postbox.put_back(flushed);
                metrics::add(&metrics::DROPPED, &["messages"], lost);
                return refusal(&Error::unavailable(full.to_string()));
            }
        };
        let Flushed {
            messages,
            dropped,
            gap,
        } = flushed;
        let all = 0..messages.len();
        let messages = Arc::new(messages);
        let encode = |kept: &Kept| json::message(&kept.message);
        let mut response = Response::array(messages.clone(), all, encode, hold);
        if dropped > 0 {
            response = response.with_header("X-Messenger-Dropped", dropped.to_string());
        }
        if gap {
            response = response.with_header("X-Messenger-Gap", "true");
        }
        if !self.link.is_subscribed() {
            response = response.with_header("X-Messenger-Subscribed", "false");
        }
        if preference.is_some_and(|it| it.clamped) {
            response = response.with_header("Preference-Applied", format!("wait={MOST}"));
        }
        let (postbox, losses) = (self.postbox.clone(), self.losses.clone());
        response.on_undelivered(move || {
            let messages = Arc::unwrap_or_clone(messages);
            let count = messages.len();
            let lost = postbox.put_back(Flushed {
                messages,
                dropped,
                gap,
            });
            metrics::add(&metrics::DROPPED, &["messages"], lost);
            if count > 0 && losses.admit(0, Instant::now()) == Admission::Write {
                let unlogged = losses.take_withheld().map_or(0, |[count]| count);
                tracing::warn!(
                    messages = count,
                    unlogged,
                    "the answer to a flush was not delivered; its messages are back in the postbox"
                );
            }
        })
    }

    fn take(&self) -> Flushed {
        let mut span = trace::span("flush");
        let flushed = self.postbox.flush();
        let messages = flushed.messages.iter().map(|it| it.message.send_time);
        let ids = messages.map(|time| time.nanos().cast_unsigned());
        span.arrow(Point::End, Way::Postbox, ids);
        flushed
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into()
}

fn refusal(error: &Error) -> Response {
    Response::error(
        status::http(error.code),
        status::name(error.code),
        &error.message,
    )
}
