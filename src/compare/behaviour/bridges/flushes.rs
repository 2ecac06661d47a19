//! `POST /getAndFlushMessages`: what is in it, once and in order.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::chat::client::Message;
use crate::compare::behaviour::case::{Case, all_of, concurrently, words};
use crate::compare::behaviour::chat::MARKER;
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::http::{self, FLUSH, Reply, bare, post, send_body};
use crate::compare::behaviour::trouble::{Seen, Trouble, said};

const MESSAGE: &str = "the message, once";

pub const CHECKS: &[Check] = &[
    Check::new(
        "flush",
        "A message that was sent over gRPC is in a flush.",
        MESSAGE,
        |case| flushes(case, &post(FLUSH, "", b"")),
    ),
    Check::new(
        "flush-no-length",
        "A flush without a body and without its length, as by curl -X POST.",
        MESSAGE,
        |case| flushes(case, &bare("POST", FLUSH, "")),
    ),
    Check::new(
        "flush-body",
        "A flush with a body, which is ignored.",
        MESSAGE,
        |case| flushes(case, &post(FLUSH, "", b"{\"any\": [\"thing\"]}")),
    ),
    Check::new(
        "flush-nothing",
        "A flush when there is nothing.",
        "200 with []",
        |case| {
            let reply = case.ask(&post(FLUSH, "", b""))?;
            let empty = reply.json() == Some(json!([]));
            Ok(if empty && reply.status == 200 {
                "200 with []".into()
            } else {
                format!("{reply} that is not []")
            })
        },
    ),
    Check::new(
        "flush-once",
        "A second flush, right after the first.",
        "nothing of the first one",
        flush_once,
    ),
    Check::new(
        "flush-order",
        "Two clients send over HTTP and one over gRPC, all at a time.",
        "the order of the stream",
        flush_order,
    ),
    Check::new(
        "flush-concurrently",
        "Four clients flush while 200 messages arrive.",
        "each message once",
        flush_concurrently,
    ),
    Check::new(
        "flush-own",
        "A flush right after a send through the same bridge, 20 times.",
        "all of them",
        flush_own,
    ),
    Check::new(
        "bridge-times",
        "The times in the answer, in the stream and in the flush, to the nanosecond.",
        "the same time",
        bridge_times,
    ),
    Check::new(
        "time-digits",
        "The fraction of each of 20 times, as text.",
        "nine digits and Z",
        time_digits,
    ),
    Check::new(
        "flush-empty-fields",
        "A message without author and text.",
        "author, text and sendTime",
        |case| {
            let names = with_message(case, "", "", |_, message| {
                let fields = message.as_object();
                let names = ["author", "text", "sendTime"];
                let there = |name: &&str| fields.is_some_and(|f| f.contains_key(*name));
                names.into_iter().filter(there).collect::<Vec<_>>()
            })?;
            Ok(match names[..] {
                ["author", "text", "sendTime"] => "author, text and sendTime".into(),
                _ => format!("{} alone", names.join(" and ")),
            })
        },
    ),
    Check::new(
        "flush-utf8",
        "How a text that is not ASCII is written.",
        "UTF-8",
        |case| {
            with_message(case, "a", "世界", |reply, _| {
                let raw = String::from_utf8_lossy(&reply.body).contains("世界");
                if raw { "UTF-8" } else { "escapes" }.into()
            })
        },
    ),
    Check::new(
        "content-type",
        "The Content-Type of the answers to a send and to a flush.",
        "application/json; charset=utf-8",
        content_type,
    ),
];

fn flushes(case: &Case, request: &[u8]) -> Seen {
    let sent = case.tell("anna", "Hello")?;
    let got = flush_to_marker(case, request)?;
    Ok(if words(&got) == words(&[sent]) {
        MESSAGE
    } else {
        "other messages"
    }
    .into())
}

fn flush_once(case: &Case) -> Seen {
    case.tell("anna", "Hello")?;
    flush_to_marker(case, &post(FLUSH, "", b""))?;
    let second = case.flush()?;
    Ok(if second.is_empty() {
        "nothing of the first one"
    } else {
        "messages once more"
    }
    .into())
}

/// Sends a marker and flushes, by this request, until it is there: what came
/// before it.
fn flush_to_marker(case: &Case, request: &[u8]) -> Result<Vec<Message>, Trouble> {
    let marker = case.mark()?;
    let mut got = Vec::new();
    loop {
        for message in http::messages(&case.ask(request)?)? {
            if message.text == marker {
                return Ok(got);
            }
            got.push(message);
        }
        case.pause()?;
    }
}

fn flush_order(case: &Case) -> Seen {
    let mut readers = case.readers(1)?;
    let send = |index: usize| {
        let chat = case.chat()?;
        let author = format!("sender {index}");
        let texts = (0..20).map(|number| number.to_string());
        let sent = texts.map(|text| match index {
            0 => Ok(chat.send(&author, &text)?),
            _ => case.send(&author, &text),
        });
        sent.collect()
    };
    let sent = concurrently(3, send)?.len();
    let stream = case.chat()?.read_up(&mut readers)?.concat();
    let flushed = case.drain()?;
    Ok(if words(&stream) != words(&flushed) {
        "another order or other messages"
    } else if stream.len() != sent {
        "other messages than were sent"
    } else {
        "the order of the stream"
    }
    .into())
}

fn flush_concurrently(case: &Case) -> Seen {
    let sending = AtomicBool::new(true);
    let work = |index: usize| {
        if index == 0 {
            let sent = case.tell_concurrently(1, 200);
            sending.store(false, Ordering::Release);
            return sent.map(|_| Vec::new());
        }
        let mut got = Vec::new();
        while sending.load(Ordering::Acquire) {
            got.extend(case.flush()?);
            case.pause()?;
        }
        Ok(got)
    };
    let mut got: Vec<Message> = concurrently(5, work)?;
    got.extend(case.drain()?);
    got.retain(|message| message.author != MARKER);
    let mut texts: Vec<_> = got.iter().map(|message| message.text.as_str()).collect();
    texts.sort_unstable();
    let all = texts.len();
    texts.dedup();
    Ok(match (all, texts.len()) {
        (200, 200) => "each message once",
        (_, 200) => "messages twice",
        _ => "messages lost",
    }
    .into())
}

fn flush_own(case: &Case) -> Seen {
    let mut count = 0;
    for _ in 0..20 {
        let sent = case.send("anna", "own")?;
        let got = case.flush()?;
        count += usize::from(got.iter().any(|m| m.send_time == sent.send_time));
        // A late one must not be taken for the next.
        case.drain()?;
    }
    Ok(all_of(count, 20))
}

fn bridge_times(case: &Case) -> Seen {
    let mut readers = case.readers(1)?;
    for number in 0..20 {
        let sent = [case.send("a", &number.to_string())?];
        let stream = case.chat()?.read_up(&mut readers)?.concat();
        let flushed = case.drain()?;
        if stream != sent {
            return Ok("another time in the answer".into());
        }
        if flushed != stream {
            return Ok("another time in the flush".into());
        }
    }
    Ok("the same time".into())
}

fn time_digits(case: &Case) -> Seen {
    for _ in 0..20 {
        let reply = case.post(&send_body("a", "b"))?;
        let answer = reply.json().unwrap_or_default();
        let flushed = with_message(case, "a", "b", |_, message| message["sendTime"].clone())?;
        for time in [&answer["sendTime"], &flushed] {
            let time = time.as_str().unwrap_or_default();
            let fraction = time.strip_suffix('Z').and_then(|t| t.split_once('.'));
            match fraction {
                Some((_, fraction)) if fraction.len() == 9 => {}
                _ => return Ok("fewer digits".into()),
            }
        }
    }
    Ok("nine digits and Z".into())
}

fn content_type(case: &Case) -> Seen {
    let send = case.post(&send_body("a", "b"))?;
    let flush = case.ask(&post(FLUSH, "", b""))?;
    let kinds = [&send, &flush].map(|reply| reply.header("Content-Type").unwrap_or("none"));
    Ok(if kinds[0] == kinds[1] {
        kinds[0].to_owned()
    } else {
        format!("{} and {}", kinds[0], kinds[1])
    })
}

/// Sends straight to the server and calls this with the first flush that is not
/// empty and the last message in it, as they are.
fn with_message<T>(
    case: &Case,
    author: &str,
    text: &str,
    look: impl Fn(&Reply, &Value) -> T,
) -> Result<T, Trouble> {
    case.tell(author, text)?;
    loop {
        let reply = case.ask(&post(FLUSH, "", b""))?;
        match reply.json() {
            Some(Value::Array(all)) => {
                if let Some(message) = all.last() {
                    return Ok(look(&reply, message));
                }
            }
            _ => return said(reply.to_string()),
        }
        case.pause()?;
    }
}
