//! Calls that no ordinary client makes; readers that are many, that leave, and
//! that do not read; and the server as a process: its health, its port, its end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::case::{Case, words};
use super::chat::{Chat, GLANCE, MARKER, Reader};
use super::check::Checks;
use super::trouble::{Tried, Trouble, ensure, said};
use crate::chat::client::Message;
use crate::chat::wire::{READ_MESSAGES, SEND_MESSAGE, SERVICE};
use crate::compare::load::wire::frames;
use crate::error::{Code, Error};
use crate::grpc::health::wire::{CHECK, HealthCheckRequest, Status};
use crate::status;

const NOTHING: &str = "/mes_grpc.MessengerServer/Nothing";
const SEND: &str = SEND_MESSAGE.name;
const TOO_LARGE: &str = "RESOURCE_EXHAUSTED, and goes on";
const UNKNOWN: &str = "UNIMPLEMENTED, and goes on";
const CUT: &str = "its first messages, then RESOURCE_EXHAUSTED";
const SHUT_DOWN: &str = "\"shutting down\" for the reader, exit code 0";

/// The keepalive notices after 13 s; this is a busy machine's share more.
const NOTICE: Duration = Duration::from_secs(18);

pub fn add(list: &mut Checks) {
    list.title("A gRPC message of 1 MiB.");
    list.check("message-1m", TOO_LARGE, |case| {
        case.sees(after(case, |chat| send_bytes(chat, 1 << 20))?)
    });
    list.title("A gRPC message of 5 MiB, above gRPC's own limit.");
    list.check("message-5m", TOO_LARGE, |case| {
        case.sees(after(case, |chat| send_bytes(chat, 5 << 20))?)
    });
    list.title("A call with 20 KiB of metadata.");
    list.check("metadata-20k", TOO_LARGE, |case| {
        let field = "x".repeat(20 << 10);
        case.sees(after(case, |chat| chat.call_bytes(SEND, b"", &field))?)
    });
    list.title("A method that the service does not have.");
    list.check("unknown-method", UNKNOWN, |case| {
        case.sees(after(case, |chat| chat.call_bytes(NOTHING, b"", ""))?)
    });
    list.title("Bytes that are no protobuf, in four ways.");
    list.check("malformed", "an error, and goes on", |case| {
        let invalid_utf8 = b"\x0a\x02\xff\xfe";
        let overlong = b"\xff\xff\xff\xff\xff";
        for bytes in [&overlong[..], b"\x0a\x7fshort", invalid_utf8, b"\x07"] {
            let seen = after(case, |chat| chat.call_bytes(SEND, bytes, ""))?;
            // Which error it is depends on the library.
            let seen = seen.replace("INTERNAL", "an error");
            case.sees(seen.replace("INVALID_ARGUMENT", "an error"))?;
        }
        Ok(())
    });
    list.title("A message of no fields, and one with a field that the server does not know.");
    list.check("unknown-field", "OK, and goes on", |case| {
        // Field 15, a varint.
        for bytes in [&b""[..], b"\x78\x01"] {
            case.sees(after(case, |chat| chat.call_bytes(SEND, bytes, ""))?)?;
        }
        Ok(())
    });
    list.title("With 40 readers, SendMessage is answered, and all of them get the message.");
    list.check("forty-readers", "all of them", |case| {
        let chat = case.chat()?;
        let readers = (0..40).map(|_| case.chat()?.reader(&chat));
        let readers = readers.collect::<Tried<Vec<_>>>()?;
        chat.send("a", "b")?;
        for mut reader in readers {
            let got = reader.read_up()?;
            ensure(words(&got) == [("a", "b")], "not all of them")?;
        }
        Ok(())
    })
    .within(5);
    list.title("After 100 readers have come and gone, SendMessage is answered.");
    list.check("readers-that-leave", "answered", |case| {
        let chat = case.chat()?;
        for _ in 0..100 {
            let reader = chat.subscribe()?;
            // Comes behind the reader's call on the same connection, so that its
            // answer tells that the server has got both.
            let _ = chat.call_bytes(NOTHING, b"", "");
            drop(reader);
        }
        // A server may take so many cancelled calls for an attack by that client.
        case.tell("a", "b").map(drop)
    });
    list.title("While a reader does not read, another one gets 12 MiB of messages.");
    list.check("stalled-reader-harms-nobody", "all messages", |case| {
        let (_stalled, sent, got) = stall(case)?;
        ensure(got == sent, "other messages")
    })
    .spoils();
    list.title("A reader that does not read for 12 MiB gets its first messages and is cut.");
    list.check("stalled-reader-is-cut", CUT, |case| {
        let (mut stalled, sent, _) = stall(case)?;
        for message in sent {
            match stalled.next()? {
                Ok(got) => ensure(got == message, "other messages")?,
                Err(end) => {
                    let code = status::name(end.code);
                    return case.sees(format!("its first messages, then {code}"));
                }
            }
        }
        said("all messages, whatever their memory")
    })
    .spoils();
    list.title("A reader's machine vanishes: no answer to any PING, for 18 s.");
    list.check("vanished-reader", "its connection is closed", vanished)
        .within(30);
    list.title("The standard health service knows the chat's service, and no other.");
    list.check("health", "SERVING, and NOT_FOUND for a stranger", |case| {
        let chat = case.chat()?;
        let ask = |service: &str| {
            let mut request = HealthCheckRequest::new();
            request.service = service.to_owned();
            chat.call(&CHECK, &request)
        };
        let serves = ask(SERVICE)?.status == Status::SERVING.into();
        ensure(serves, "not SERVING")?;
        let stranger = ask("nobody.Knows").map_err(|error| status::name(error.code));
        let stranger = stranger.map_or_else(|code| code, |_| "an answer");
        case.sees(format!("SERVING, and {stranger} for a stranger"))
    });
    list.title("A second server on the same port.");
    list.check("port-taken", "the second one ends with an error", |case| {
        let server = case.server()?;
        server.is_ours()?;
        // One that fails before it listens has failed in the promised way.
        if let Ok(mut second) = case.subject.toolbox.server(&server.peer, server.port) {
            let how = loop {
                match second.ended() {
                    Some(how) => break how,
                    None => ensure(listeners(server.port) < 2, "both listen on it")?,
                }
                case.pause()?;
            };
            ensure(!how.success(), "the second one ends")?;
        }
        case.tell("a", "b").map(drop)
    })
    .spoils();
    list.title("SIGTERM while a reader reads.");
    list.check("server-end", SHUT_DOWN, |case| {
        let mut reader = case.reader()?;
        let how = case.server()?.end()?;
        match reader.next()? {
            Ok(_) => said("one more message"),
            Err(end) if end.message == "shutting down" => {
                case.sees(format!("\"shutting down\" for the reader, {how}"))
            }
            Err(end) => said(format!("{}, {how}", status::name(end.code))),
        }
    })
    .spoils();
}

/// What the call comes to, and whether a reader on the same connection still gets
/// what is sent there.
fn after(case: &Case, call: impl FnOnce(&Chat) -> Result<(), Error>) -> Tried<String> {
    let chat = case.chat()?;
    let mut reader = chat.reader(&chat)?;
    let code = match call(&chat) {
        Err(error) if error.code == Code::DeadlineExceeded => return Err(error.into()),
        Err(error) => status::name(error.code),
        Ok(()) => "OK",
    };
    let lives = reader.read_up().is_ok();
    let then = if lives { "goes on" } else { "nothing more" };
    Ok(format!("{code}, and {then}"))
}

fn send_bytes(chat: &Chat, size: usize) -> Result<(), Error> {
    chat.send("", &"x".repeat(size)).map(drop)
}

/// Sends big messages to a reader that does not take them and to one that does:
/// the first one, what was sent, and what the other got. It is more than the
/// backlog of a reader and all that the transport takes.
fn stall(case: &Case) -> Tried<(Reader, Vec<Message>, Vec<Message>)> {
    // The second one has taken all markers: what it is sent from now on stays untaken.
    let (chat, mut reader, stalled) = (case.chat()?, case.reader()?, case.reader()?);
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for number in 0..64 {
        sent.push(chat.send(&number.to_string(), &"x".repeat(200 << 10))?);
        got.push(reader.message()?);
    }
    Ok((stalled, sent, got))
}

/// HTTP/2 by hand: no library would leave a PING without an answer.
fn vanished(case: &Case) -> Tried {
    let address = &case.server()?.address;
    let mut call = frames::hello();
    frames::frame(&mut call, frames::SETTINGS, frames::ACK, 0, b"");
    let headers = frames::headers(address, READ_MESSAGES.name, None);
    frames::request(&mut call, 1, &headers, b"");
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(GLANCE))?;
    socket.write_all(&call)?;
    // It is a reader once it has a message.
    let (chat, mut got) = (case.chat()?, Vec::new());
    while !String::from_utf8_lossy(&got).contains(MARKER) {
        chat.mark("")?;
        ensure(read(&mut socket, &mut got)?, "connection closed at once")?;
        case.pause()?;
    }
    let vanished = Instant::now();
    while read(&mut socket, &mut got)? {
        ensure(vanished.elapsed() < NOTICE, "its connection is kept")?;
    }
    Ok(())
}

/// Takes what comes within a glance; `false` at the end of the connection.
fn read(socket: &mut TcpStream, got: &mut Vec<u8>) -> Tried<bool> {
    let mut bytes = [0; 4096];
    match socket.read(&mut bytes).map_err(Trouble::from) {
        Ok(length) => {
            got.extend_from_slice(&bytes[..length]);
            Ok(length > 0)
        }
        Err(Trouble::Hang) => Ok(true),
        // A reset is an end, too.
        Err(_) => Ok(false),
    }
}

/// How many sockets listen on a port. Source: proc(5), /proc/net/tcp.
fn listeners(port: u16) -> usize {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables: String = tables.into_iter().flatten().collect();
    let listens = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.len() > 3 && fields[1].ends_with(&port) && fields[3] == LISTEN
    };
    tables.lines().filter(listens).count()
}
