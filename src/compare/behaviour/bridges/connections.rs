//! Clients that are many, that stay, that are slow, and that vanish.

use std::time::{Duration, Instant};

use crate::chat::client::Message;
use crate::compare::behaviour::case::{Case, concurrently};
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::http::{self, FLUSH, SEND, bare, post, send_body};
use crate::compare::behaviour::trouble::{Seen, Trouble};

/// An answer of so many bytes is more than the sockets between the two can hold,
/// so that it is known not to have arrived.
const LARGE: u64 = 8 << 20;
const BIG_MESSAGES: usize = 48;
const BIG_BYTES: usize = 250 << 10;

/// How long messages may take to be back after their client has vanished.
const BACK: Duration = Duration::from_secs(2);

pub const CHECKS: &[Check] = &[
    Check::new(
        "keep-alive",
        "Two requests, one after the other, on one connection.",
        "two answers",
        |case| {
            let mut connection = case.connect()?;
            for _ in 0..2 {
                connection.send(&post(SEND, "", send_body("a", "b").as_bytes()))?;
                let reply = connection.reply()?;
                if reply.status != 200 {
                    return Ok(reply.to_string());
                }
            }
            Ok("two answers".into())
        },
    ),
    Check::new(
        "http-1.0",
        "A client of HTTP/1.0.",
        "200, then closed",
        |case| {
            let mut connection = case.connect()?;
            let head = format!("POST {FLUSH} HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
            connection.send(head.as_bytes())?;
            let reply = connection.reply()?;
            connection.closed()?;
            Ok(format!("{}, then closed", reply.status))
        },
    ),
    Check::new(
        "request-in-pieces",
        "A request that comes byte by byte.",
        "200 with JSON",
        |case| {
            let mut connection = case.connect()?;
            for byte in post(SEND, "", send_body("a", "b").as_bytes()) {
                connection.send(&[byte])?;
            }
            Ok(connection.reply()?.to_string())
        },
    ),
    Check::new(
        "twenty-clients",
        "Twenty clients at a time.",
        "20 answers",
        |case| {
            let answers = concurrently(20, |_| Ok(vec![case.send("a", "b")?]))?;
            Ok(format!("{} answers", answers.len()))
        },
    ),
    Check::new(
        "slow-client",
        "A request while another client has sent half of its own.",
        "200 with JSON",
        |case| {
            let slow = case.connect()?;
            slow.send(&bare("POST", SEND, "Content-Length: 100\r\n"))?;
            slow.send(b"{\"author\": \"a\"")?;
            Ok(case.ask(&post(FLUSH, "", b""))?.to_string())
        },
    )
    .within(5),
    Check::new(
        "vanished-client",
        "A client asks for 12 MB of messages and vanishes in the middle of the answer.",
        "all messages, in later flushes",
        vanished_client,
    )
    .spoils(),
];

fn vanished_client(case: &Case) -> Seen {
    let chat = case.chat()?;
    let text = "x".repeat(BIG_BYTES);
    let mut sent: Vec<Message> = Vec::new();
    let mut got: Vec<Message> = Vec::new();
    loop {
        for _ in 0..BIG_MESSAGES {
            sent.push(chat.send(&sent.len().to_string(), &text)?);
        }
        match torn_flush(case)? {
            None => break,
            Some(messages) => got.extend(messages),
        }
    }
    let deadline = Instant::now() + BACK;
    got.extend(case.drain()?);
    while got.len() < sent.len() && Instant::now() < deadline {
        case.pause()?;
        got.extend(case.flush()?);
    }
    // A flush that comes before the loss is known has only what came after it.
    got.sort_by_key(|message| message.send_time);
    Ok(if got == sent {
        "all messages, in later flushes"
    } else if got.len() < sent.len() {
        "messages lost"
    } else {
        "other messages"
    }
    .into())
}

/// Asks for a flush, and vanishes when a large answer has begun. A smaller one
/// might count as taken: it is read and returned.
fn torn_flush(case: &Case) -> Result<Option<Vec<Message>>, Trouble> {
    let mut connection = case.connect()?;
    connection.send(&post(FLUSH, "", b""))?;
    let mut reply = connection.head()?;
    let length = reply.header("Content-Length").map(str::parse::<u64>);
    let Some(Ok(length)) = length else {
        return Err(Trouble::Said("a flush without a length".into()));
    };
    if length > LARGE {
        // Closed with a reset.
        let at_once = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(connection.socket(), at_once)
            .map_err(std::io::Error::from)?;
        return Ok(None);
    }
    connection.read(length, &mut reply.body)?;
    http::messages(&reply).map(Some)
}
