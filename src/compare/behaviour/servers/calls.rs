//! Calls that no ordinary client makes. None of them may cost the others on the
//! same connection anything.

use protobuf::Message as _;

use crate::chat::wire;
use crate::compare::behaviour::case::Case;
use crate::compare::behaviour::chat::Chat;
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::trouble::Seen;
use crate::error::{Code, Error};
use crate::status;

const SEND: &str = wire::SEND_MESSAGE.name;
const TOO_LARGE: &str = "RESOURCE_EXHAUSTED, and goes on";

pub const CHECKS: &[Check] = &[
    Check::new(
        "message-1m",
        "A gRPC message of 1 MiB.",
        TOO_LARGE,
        |case| afterwards(case, |chat| send_bytes(chat, 1 << 20)),
    ),
    Check::new(
        "message-5m",
        "A gRPC message of 5 MiB, above gRPC's own limit.",
        TOO_LARGE,
        |case| afterwards(case, |chat| send_bytes(chat, 5 << 20)),
    ),
    Check::new(
        "metadata-20k",
        "A call with 20 KiB of metadata.",
        TOO_LARGE,
        |case| {
            let field = "x".repeat(20 << 10);
            afterwards(case, |chat| chat.call_bytes(SEND, b"", &field))
        },
    ),
    Check::new(
        "unknown-method",
        "A method that the service does not have.",
        "UNIMPLEMENTED, and goes on",
        |case| afterwards(case, |chat| chat.call_bytes(NOTHING, b"", "")),
    ),
    Check::new(
        "malformed",
        "Bytes that are no protobuf, in four ways.",
        "an error, and goes on",
        malformed,
    ),
    Check::new(
        "unknown-field",
        "A message of no fields, and one with a field that the server does not know.",
        "OK, and goes on",
        |case| {
            afterwards(case, |chat| {
                chat.call_bytes(SEND, b"", "")?;
                // Field 15, a varint.
                chat.call_bytes(SEND, b"\x78\x01", "")
            })
        },
    ),
];

pub const NOTHING: &str = "/mes_grpc.MessengerServer/Nothing";

/// What the call comes to, and whether a reader on the same connection still gets
/// what is sent there.
fn afterwards(case: &Case, call: impl FnOnce(&Chat) -> Result<(), Error>) -> Seen {
    let chat = case.chat()?;
    let mut readers = vec![chat.reader()?];
    chat.make_live(&mut readers)?;
    let code = match call(&chat) {
        Err(error) if error.code == Code::DeadlineExceeded => return Err(error.into()),
        Err(error) => status::name(error.code),
        Ok(()) => "OK",
    };
    let lives = chat.read_up(&mut readers).is_ok();
    let then = if lives {
        "and goes on"
    } else {
        "and nothing more"
    };
    Ok(format!("{code}, {then}"))
}

fn send_bytes(chat: &Chat, size: usize) -> Result<(), Error> {
    let request = wire::SendMessageRequest {
        text: "x".repeat(size),
        ..Default::default()
    };
    let bytes = request.write_to_bytes().unwrap_or_default();
    chat.call_bytes(SEND, &bytes, "")
}

fn malformed(case: &Case) -> Seen {
    let invalid_utf8 = b"\x0a\x02\xff\xfe";
    for bytes in [
        b"\xff\xff\xff\xff\xff".as_slice(),
        b"\x0a\x7fshort",
        invalid_utf8,
        b"\x07",
    ] {
        let seen = afterwards(case, |chat| chat.call_bytes(SEND, bytes, ""))?;
        // Which error it is depends on the library.
        if !["INTERNAL, and goes on", "INVALID_ARGUMENT, and goes on"].contains(&&*seen) {
            return Ok(seen);
        }
    }
    Ok("an error, and goes on".into())
}
