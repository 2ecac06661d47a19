//! The server as a process: its health, its port, its end.

use std::fs;
use std::time::{Duration, Instant};

use crate::compare::behaviour::case::Case;
use crate::compare::behaviour::chat::Next;
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::trouble::{Seen, Trouble};
use crate::compare::peer::Peer;
use crate::grpc::health::wire::{self, HealthCheckRequest, Status};
use crate::status;

pub const CHECKS: &[Check] = &[
    Check::new(
        "health",
        "The standard health service knows the chat's service, and no other.",
        "SERVING, and NOT_FOUND for a stranger",
        health_service,
    ),
    Check::new(
        "port-taken",
        "A second server on the same port.",
        "the second one ends with an error",
        port_taken,
    )
    .spoils(),
    Check::new(
        "server-end",
        "SIGTERM while a reader reads.",
        "\"shutting down\" for the reader, exit code 0",
        server_end,
    )
    .spoils(),
];

/// The promised bound of the end.
const END: Duration = Duration::from_secs(5);

fn health_service(case: &Case) -> Seen {
    let chat = case.chat()?;
    let ask = |service: &str| {
        let request = HealthCheckRequest {
            service: service.into(),
            ..Default::default()
        };
        chat.call(&wire::CHECK, &request)
    };
    let known = ask(crate::chat::wire::SERVICE)?.status.enum_value();
    let known = match known {
        Ok(Status::SERVING) => "SERVING",
        _ => "not SERVING",
    };
    let stranger = match ask("nobody.Knows") {
        Ok(_) => "an answer",
        Err(error) => status::name(error.code),
    };
    Ok(format!("{known}, and {stranger} for a stranger"))
}

fn port_taken(case: &Case) -> Seen {
    let server = case.server()?;
    if matches!(server.peer(), Peer::Foreign(_)) {
        return Err(Trouble::Skip("it was not started here".into()));
    }
    let port = server.address().rsplit(':').next();
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_default();
    // One that fails before it listens has failed in the promised way.
    if let Ok(mut second) = case.subject.toolbox.server(server.peer(), port) {
        loop {
            match second.ended() {
                Some(status) if status.success() => return Ok("the second one ends".into()),
                Some(_) => break,
                None if listeners(port) > 1 => return Ok("both listen on it".into()),
                None => case.pause()?,
            }
        }
    }
    case.tell("a", "b")?;
    Ok("the second one ends with an error".into())
}

/// How many sockets listen on a port. Source: proc(5), /proc/net/tcp.
fn listeners(port: u16) -> usize {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables = tables.into_iter().filter_map(Result::ok);
    let count = tables.map(|table| {
        let listens = |line: &&str| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port))
                && fields.nth(1) == Some(LISTEN)
        };
        table.lines().filter(listens).count()
    });
    count.sum()
}

fn server_end(case: &Case) -> Seen {
    let mut readers = case.readers(1)?;
    let deadline = case.deadline.min(Instant::now() + END);
    let how = case.server()?.end(deadline)?;
    for reader in &mut readers {
        match reader.next()? {
            Next::Message(_) => return Ok("one more message".into()),
            Next::End(error) if error.message == "shutting down" => {}
            Next::End(error) => return Ok(format!("{}, {how}", status::name(error.code))),
        }
    }
    Ok(format!("\"shutting down\" for the reader, {how}"))
}
