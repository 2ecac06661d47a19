//! Readers that are many, that leave, and that do not read.

use crate::chat::client::Message;
use crate::compare::behaviour::case::{Case, all_of, words};
use crate::compare::behaviour::chat::{Next, Reader};
use crate::compare::behaviour::check::{Check, Seen, Trouble};
use crate::error::Error;
use crate::status;

use super::calls::NOTHING;

/// Together more than the backlog of a reader and all that the transport takes.
const BIG_MESSAGES: usize = 64;
const BIG_BYTES: usize = 200 << 10;

pub const CHECKS: &[Check] = &[
    Check::new(
        "forty-readers",
        "With 40 readers, SendMessage is answered, and all of them get the message.",
        "all of them",
        forty_readers,
    )
    .differs("readers")
    .within(5),
    Check::new(
        "readers-that-leave",
        "After 100 readers have come and gone, SendMessage is answered.",
        "answered",
        readers_that_leave,
    )
    .differs("readers")
    .within(5),
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
    .differs("a reader that does not read")
    .spoils(),
];

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
