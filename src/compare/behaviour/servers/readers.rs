//! Readers that are many, that leave, and that do not read.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::chat::client::Message;
use crate::compare::behaviour::case::{Case, all_of, words};
use crate::compare::behaviour::chat::{MARKER, Next, Reader};
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::trouble::{Seen, Trouble, said};
use crate::compare::load::wire::frames;
use crate::error::Error;
use crate::status;

use super::calls::NOTHING;

/// Together more than the backlog of a reader and all that the transport takes.
const BIG_MESSAGES: usize = 64;
const BIG_BYTES: usize = 200 << 10;

/// How long a message may be under way before another one is sent.
const GLANCE: Duration = Duration::from_millis(50);

pub const CHECKS: &[Check] = &[
    Check::new(
        "forty-readers",
        "With 40 readers, SendMessage is answered, and all of them get the message.",
        "all of them",
        forty_readers,
    )
    .within(5),
    Check::new(
        "readers-that-leave",
        "After 100 readers have come and gone, SendMessage is answered.",
        "answered",
        readers_that_leave,
    ),
    Check::new(
        "stalled-reader-harms-nobody",
        "While a reader does not read, another one gets 12 MiB of messages.",
        "all messages",
        stalled_reader_harms_nobody,
    )
    .spoils(),
    Check::new(
        "stalled-reader-is-cut",
        "A reader that does not read for 12 MiB gets its first messages and is cut.",
        "its first messages, then RESOURCE_EXHAUSTED",
        stalled_reader_is_cut,
    )
    .spoils(),
    Check::new(
        "vanished-reader",
        "A reader's machine vanishes: no answer to any PING, for 18 s.",
        "its connection is closed",
        vanished_reader,
    )
    .within(30),
];

/// The keepalive notices after 13 s; this is a busy machine's share more.
const NOTICE: Duration = Duration::from_secs(18);

fn forty_readers(case: &Case) -> Seen {
    let mut readers = case.readers(40)?;
    case.tell("a", "b")?;
    let got = case.chat()?.read_up(&mut readers)?;
    let count = got.iter().filter(|got| words(got) == [("a", "b")]).count();
    Ok(all_of(count, 40))
}

fn readers_that_leave(case: &Case) -> Seen {
    let chat = case.chat()?;
    for _ in 0..100 {
        let reader = chat.reader()?;
        // Comes behind the reader's call on the same connection, so that its
        // answer tells that the server has got both.
        let _ = chat.call_bytes(NOTHING, b"", "");
        drop(reader);
    }
    // A server may take so many cancelled calls for an attack by that client.
    case.tell("a", "b")?;
    Ok("answered".into())
}

fn stalled_reader_harms_nobody(case: &Case) -> Seen {
    let (_stalled, sent, got) = stall(case)?;
    Ok(if got == sent {
        "all messages"
    } else {
        "other messages"
    }
    .into())
}

fn stalled_reader_is_cut(case: &Case) -> Seen {
    let (mut stalled, sent, _) = stall(case)?;
    let mut count = 0;
    let end: Error = loop {
        match stalled.next()? {
            Next::Message(message) if sent.get(count) == Some(&message) => count += 1,
            Next::Message(_) => return Ok("other messages".into()),
            Next::End(error) => break error,
        }
        if count == sent.len() {
            return Ok("all messages, whatever their memory".into());
        }
    };
    let code = status::name(end.code);
    Ok(format!("its first messages, then {code}"))
}

/// HTTP/2 by hand: no library would leave a PING without an answer.
fn vanished_reader(case: &Case) -> Seen {
    let address = case.server()?.address();
    let mut socket = TcpStream::connect(address)?;
    let path = crate::chat::wire::READ_MESSAGES.name;
    let mut subscribe = frames::hello();
    frames::frame(&mut subscribe, frames::SETTINGS, frames::ACK, 0, b"");
    frames::request(
        &mut subscribe,
        1,
        &frames::headers(address, path, false),
        b"",
    );
    socket.write_all(&subscribe)?;
    // It is a reader once it has a message.
    let chat = case.chat()?;
    let mut got = Vec::new();
    while !got
        .windows(MARKER.len())
        .any(|part| part == MARKER.as_bytes())
    {
        chat.send(MARKER, "")?;
        socket.set_read_timeout(Some(GLANCE))?;
        match read(&mut socket)? {
            Some(bytes) if bytes.is_empty() => return said("connection closed at once"),
            bytes => got.extend(bytes.unwrap_or_default()),
        }
        case.pause()?;
    }
    let deadline = Instant::now() + NOTICE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok("its connection is kept".into());
        }
        socket.set_read_timeout(Some(left))?;
        if read(&mut socket)?.is_some_and(|bytes| bytes.is_empty()) {
            return Ok("its connection is closed".into());
        }
    }
}

/// What has come; nothing at the end, `None` when the socket's time is over.
fn read(socket: &mut TcpStream) -> Result<Option<Vec<u8>>, Trouble> {
    let mut bytes = vec![0; 4096];
    match socket.read(&mut bytes).map_err(Trouble::from) {
        Ok(length) => {
            bytes.truncate(length);
            Ok(Some(bytes))
        }
        Err(Trouble::Hang) => Ok(None),
        // A reset is an end, too.
        Err(_) => Ok(Some(Vec::new())),
    }
}

/// Sends big messages to a reader that does not take them and to one that does:
/// the first one, what was sent, and what the other got.
fn stall(case: &Case) -> Result<(Reader, Vec<Message>, Vec<Message>), Trouble> {
    let mut readers = case.readers(2)?;
    let (Some(stalled), Some(mut reader)) = (readers.pop(), readers.pop()) else {
        return Err(Trouble::Hang);
    };
    let chat = case.chat()?;
    let text = "x".repeat(BIG_BYTES);
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for number in 0..BIG_MESSAGES {
        sent.push(chat.send(&number.to_string(), &text)?);
        got.push(reader.message()?);
    }
    Ok((stalled, sent, got))
}
