//! Clients that read: some leave early, some pause, some are killed.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::FutureExt as _;
use grpcio::{Client, RpcStatus, RpcStatusCode};
use messenger::chat::client::{ChatClient, Cursor};
use messenger::chat::message::Message;
use messenger::chat::wire::{self, SubscribeRequest};
use messenger::error::Error;
use messenger::grpc::blocking;
use messenger::status;
use protobuf::well_known_types::empty::Empty;
use serde_json::Value;

use super::event::{ChatEvent, End};
use super::senders::{Last, message};
use crate::chaos::record::{Event, Pen};
use crate::chaos::run::Stop;
use crate::support::feed::Feed;
use crate::support::process::Signal;
use crate::support::programs::Python;
use crate::support::rpc::{SETTLE, Stream, client, narrow, raw};
use crate::support::{SOON, nanos};

/// How often a reader that gets nothing looks at what else there is to do.
const LOOK: Duration = Duration::from_millis(100);

/// What a reader does after so many messages.
enum Plan {
    Leave,
    /// And each time after as many again.
    Pause(Duration),
    ReadOn,
}

impl Plan {
    fn draw(rng: &mut Rng) -> (u64, Self) {
        let after = rng.u64(100..2_000);
        let plan = match rng.u8(..5) {
            0 => Self::Leave,
            1 | 2 => Self::Pause(Duration::from_millis(rng.u64(..2_500))),
            _ => Self::ReadOn,
        };
        (after, plan)
    }
}

/// The streams of a reader have numbers from here on.
fn first(reader: usize) -> u64 {
    1_000 * (reader as u64 + 1)
}

/// One stream after the other, each on a connection of its own, until the last
/// message has come.
pub fn read<E: Event + From<ChatEvent>>(
    seed: u64,
    number: usize,
    (port, direct): (u16, bool),
    pen: Pen<E>,
    stop: &Stop,
    last: &Last,
) {
    read_at(seed, number, (&[port], direct), pen, stop, last);
}

/// The same at servers that are one chat: each stream at the next one, and where it
/// resumes too.
pub fn read_at<E: Event + From<ChatEvent>>(
    seed: u64,
    number: usize,
    (ports, direct): (&[u16], bool),
    mut pen: Pen<E>,
    stop: &Stop,
    last: &Last,
) {
    let mut rng = Rng::with_seed(seed ^ (first(number) << 32));
    for stream in first(number).. {
        if stop.is_stopped() {
            return;
        }
        let plan = Plan::draw(&mut rng);
        let mut addresses: Vec<_> = ports.iter().map(|it| format!("127.0.0.1:{it}")).collect();
        addresses.rotate_left((number + stream as usize) % ports.len());
        let address = &addresses[0];
        pen.note(ChatEvent::Opens { stream, direct });
        // Every other one is a client of ours, half of which resume; of the rest half take
        // little that they do not read, so that they are cut soon.
        let mut next = match number % 4 {
            0 => plain(raw(address)),
            2 => batches(narrow(address)),
            odd => ours(&addresses, odd == 1),
        };
        if follow(stream, plan, &mut *next, &mut pen, stop, last) {
            return;
        }
        drop(next);
        stop.wait(Duration::from_millis(rng.u64(..200)));
    }
}

/// What comes next on a stream.
enum Next {
    /// The subscription is confirmed.
    Live,
    Message(Message),
    /// It cannot go on where it was.
    Gap,
    End(End),
    NothingYet,
}

/// Waits for what comes next, at most [`LOOK`].
type Source = Box<dyn FnMut() -> Next>;

/// ReadMessages by grpcio alone; its first message tells that it is live.
fn plain(client: Client) -> Source {
    let mut messages = Stream::open(&client, &wire::READ_MESSAGES, &Empty::new());
    Box::new(move || {
        let _connection = &client;
        match blocking::wait(messages.next().fuse(), Some(LOOK)) {
            Some(Ok(message)) => Next::Message(wire::message(message)),
            Some(Err(status)) => Next::End(end(&status)),
            None => Next::NothingYet,
        }
    })
}

/// Subscribe by grpcio alone.
fn batches(client: Client) -> Source {
    let mut responses = Stream::open(&client, &wire::SUBSCRIBE, &SubscribeRequest::new());
    let mut batch = Vec::new().into_iter();
    Box::new(move || {
        let _connection = &client;
        if let Some(message) = batch.next() {
            return Next::Message(wire::message(message));
        }
        match blocking::wait(responses.next().fuse(), Some(LOOK)) {
            Some(Ok(first)) if first.subscribed.is_some() => Next::Live,
            Some(Ok(response)) => {
                batch = response.messages.into_iter();
                Next::NothingYet
            }
            Some(Err(status)) => Next::End(end(&status)),
            None => Next::NothingYet,
        }
    })
}

/// A message, and the place behind it.
type Placed = (Message, Option<Cursor>);

/// A stream by the client that bridge, console and `messenger tail` have, behind this
/// place; `None` when the server cannot resume there.
fn subscribe(client: &ChatClient, after: Option<&Cursor>) -> Result<Option<Feed<Placed>>, Error> {
    let (mut stream, _) = client.subscribe_after(after, SOON, SETTLE)?;
    if after.is_some() && !stream.resumed() {
        return Ok(None);
    }
    let client = client.clone();
    // While the reader pauses, messages pile up in its C core, and the end behind them.
    let feed = Feed::start_lazy(stream.abort_handle(), move || {
        let _connection = &client;
        stream.recv().map(|it| Some((it, stream.cursor().cloned())))
    });
    Ok(Some(feed))
}

/// Such a stream at the first address; one that `resumes` goes on where it was when it is
/// lost, at the next address that lets it, so that the promises of one stream hold over
/// all of it.
fn ours(addresses: &[String], resumes: bool) -> Source {
    let mut clients: Vec<_> = addresses.iter().map(|it| client(it)).collect();
    let lost = |error: &Error| reason(status::name(error.code), &error.message);
    let mut feed = match subscribe(&clients[0], None) {
        Ok(feed) => feed.expect("a stream"),
        Err(error) => {
            let mut end = Some(lost(&error));
            return Box::new(move || end.take().map_or(Next::NothingYet, Next::End));
        }
    };
    let (mut is_live, mut cursor, mut gone) = (false, None, None);
    Box::new(move || {
        if !is_live {
            is_live = true;
            return Next::Live;
        }
        if let Some(end) = gone.take() {
            return Next::End(end);
        }
        match feed.poll(LOOK) {
            Some(Ok(Some((message, place)))) => {
                cursor = place;
                Next::Message(message)
            }
            Some(Ok(None)) => Next::End(End::Lost("OK".into())),
            Some(Err(error)) => {
                let after = cursor.as_ref().filter(|_| resumes);
                let again = after.and_then(|after| {
                    (0..clients.len()).find_map(|_| {
                        clients.rotate_left(1);
                        subscribe(&clients[0], Some(after)).ok()
                    })
                });
                match again {
                    Some(Some(again)) => {
                        feed = again;
                        Next::NothingYet
                    }
                    Some(None) => {
                        gone = Some(lost(&error));
                        Next::Gap
                    }
                    None => Next::End(lost(&error)),
                }
            }
            None => Next::NothingYet,
        }
    })
}

/// Reads to an end; whether that was the end of the run.
fn follow<E: Event + From<ChatEvent>>(
    stream: u64,
    (after, plan): (u64, Plan),
    next: &mut dyn FnMut() -> Next,
    pen: &mut Pen<E>,
    stop: &Stop,
    last: &Last,
) -> bool {
    let (mut received, mut newest, mut deadline) = (0, None, None);
    let mut is_live = false;
    loop {
        match next() {
            Next::Live => {
                is_live = true;
                pen.note(ChatEvent::Registered { stream });
                if last.get().is_some() {
                    pen.note(ChatEvent::Left { stream });
                    return true;
                }
            }
            Next::Message(it) => {
                let (message, time) = (message(&it.text), it.send_time.nanos());
                pen.note(ChatEvent::Delivered {
                    stream,
                    message,
                    time,
                });
                received += 1;
                newest = Some(message);
                is_live = true;
            }
            Next::Gap => pen.note(ChatEvent::Gap { stream }),
            Next::End(end) => {
                pen.note(ChatEvent::Ended { stream, end });
                return false;
            }
            Next::NothingYet => {}
        }
        // It may come before its answer.
        if newest.is_some() && newest == last.get() {
            pen.note(ChatEvent::Left { stream });
            return true;
        }
        if stop.is_stopped() {
            // The last message comes soon, or never.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + 2 * SOON);
            if !is_live || Instant::now() > deadline {
                pen.note(ChatEvent::Left { stream });
                return true;
            }
        } else if received == after {
            received = 0;
            match plan {
                Plan::Leave => {
                    pen.note(ChatEvent::Left { stream });
                    return false;
                }
                Plan::Pause(time) => {
                    pen.note(ChatEvent::Pauses { stream });
                    stop.wait(time);
                }
                Plan::ReadOn => {}
            }
        }
    }
}

fn end(status: &RpcStatus) -> End {
    match status.code() {
        RpcStatusCode::RESOURCE_EXHAUSTED => reason("RESOURCE_EXHAUSTED", status.message()),
        RpcStatusCode::UNAVAILABLE => reason("UNAVAILABLE", status.message()),
        other => reason(&other.to_string(), status.message()),
    }
}

fn reason(code: &str, details: &str) -> End {
    let told = details.rsplit_once("last sendTime sent: ");
    match (code, told) {
        ("RESOURCE_EXHAUSTED", Some((_, "none"))) => End::Cut { last: None },
        ("RESOURCE_EXHAUSTED", Some((_, last))) => End::Cut {
            last: Some(nanos(last)),
        },
        ("UNAVAILABLE", _) if details == "shutting down" => End::Shutdown,
        _ => End::Lost(format!("{code} {details}")),
    }
}

/// The same with the plain Python client in a process of its own, which is stopped
/// now and then, and killed at the end.
pub fn read_with_python(
    seed: u64,
    number: usize,
    (port, direct): (u16, bool),
    mut pen: Pen<ChatEvent>,
    stop: &Stop,
    last: &Last,
) {
    let number = super::READERS + number;
    let mut rng = Rng::with_seed(seed ^ (first(number) << 32));
    for stream in first(number).. {
        if stop.is_stopped() {
            return;
        }
        pen.note(ChatEvent::Opens { stream, direct });
        let reader = Python::reader(&["read", &format!("127.0.0.1:{port}")]);
        let (mut deadline, mut paused, mut is_live) = (None, false, false);
        let (mut killed, mut newest) = (false, None);
        let lives = Duration::from_millis(rng.u64(2_000..12_000));
        let began = Instant::now();
        loop {
            match reader.try_line(LOOK) {
                Ok(Some(line)) => {
                    if let Some(event) = told(stream, &line, killed) {
                        let over = matches!(event, ChatEvent::Ended { .. });
                        is_live = true;
                        if let ChatEvent::Delivered { message, .. } = event {
                            newest = Some(message);
                        }
                        pen.note(event);
                        if over {
                            break;
                        }
                    }
                }
                Ok(None) => {
                    assert!(killed, "a reader ends with a status: {}", reader.log());
                    let end = End::Lost("killed".into());
                    pen.note(ChatEvent::Ended { stream, end });
                    break;
                }
                Err(_) => {}
            }
            if newest.is_some() && newest == last.get() {
                pen.note(ChatEvent::Left { stream });
                return;
            }
            if stop.is_stopped() {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + 2 * SOON);
                if !is_live || Instant::now() > deadline {
                    pen.note(ChatEvent::Left { stream });
                    return;
                }
            } else if began.elapsed() > lives {
                // What it has written until then still comes.
                killed = true;
                reader.signal(Signal::KILL);
            } else if !paused && began.elapsed() > lives / 2 {
                paused = true;
                pen.note(ChatEvent::Pauses { stream });
                reader.signal(Signal::STOP);
                stop.wait(Duration::from_millis(rng.u64(..2_000)));
                reader.signal(Signal::CONT);
            }
        }
    }
}

/// What a line of `reader.py` says.
fn told(stream: u64, line: &str, killed: bool) -> Option<ChatEvent> {
    let line: Value = match serde_json::from_str(line) {
        Ok(line) => line,
        // The last one of a process that was killed may be cut.
        Err(_) if killed => return None,
        Err(error) => panic!("{error}: {line}"),
    };
    if let Some(text) = line["text"].as_str() {
        return Some(ChatEvent::Delivered {
            stream,
            message: message(text),
            time: line["ns"].as_i64().expect("a time"),
        });
    }
    let end = line["code"].as_str()?;
    let details = line["details"].as_str().unwrap_or_default();
    let end = reason(end, details);
    Some(ChatEvent::Ended { stream, end })
}
