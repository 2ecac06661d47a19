//! The bridge without its server, and its own beginning and end.

use std::time::{Duration, Instant};

use crate::compare::behaviour::case::{Case, words};
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::http::{FLUSH, post, send_body};
use crate::compare::behaviour::trouble::{Seen, Trouble};
use crate::compare::load::process::free_port;

const UNAVAILABLE: &str = "503 with a JSON error";

const TOLD: &str = "200 with X-Messenger-Subscribed: false";

/// Half of what a Python bridge waits for metadata, and more than any takes on a
/// busy machine that does not wait.
const SOON: Duration = Duration::from_secs(5);

/// How long a bridge may take to notice that its stream has ended.
const NOTICE: Duration = Duration::from_secs(3);

/// The promised bound of the end.
const END: Duration = Duration::from_secs(5);

pub const CHECKS: &[Check] = &[
    Check::new(
        "two-bridges",
        "Two bridges at one server, and messages through both of them.",
        "the same array at both",
        two_bridges,
    )
    .within(40),
    Check::new(
        "port-opens-subscribed",
        "What is sent when a new bridge's port has just opened, three times.",
        "in a flush",
        port_opens_subscribed,
    )
    .within(60),
    Check::new(
        "port-opens-soon",
        "A bridge starts, and nobody sends anything: its port opens within 5 s.",
        "opens",
        port_opens_soon,
    )
    .within(40),
    Check::new(
        "server-restart",
        "The server is ended and started again: messages arrive again.",
        "arrive again",
        server_restart,
    )
    .spoils(),
    Check::new(
        "sent-while-reconnecting",
        "What is sent as soon as a server is back is in a flush, or the flushes say \
         meanwhile that they may lack something.",
        "in a flush, or they say so",
        sent_while_reconnecting,
    )
    .within(20)
    .spoils(),
    Check::new(
        "server-gone-send",
        "A send after the end of the server.",
        UNAVAILABLE,
        |case| {
            case.server()?.end(case.deadline)?;
            Ok(case.post(&send_body("a", "b"))?.to_string())
        },
    )
    .spoils(),
    Check::new(
        "server-gone-flush",
        "A flush after the end of the server.",
        TOLD,
        server_gone_flush,
    )
    .spoils(),
    Check::new(
        "no-server",
        "A send through a bridge that never had a server.",
        UNAVAILABLE,
        |case| {
            let nobody = format!("127.0.0.1:{}", free_port()?);
            let lonely = case.another_bridge(&nobody)?;
            Ok(lonely.post(&send_body("a", "b"))?.to_string())
        },
    )
    .within(40),
    Check::new(
        "bridge-end",
        "The bridge gets SIGTERM.",
        "exit code 0",
        |case| case.bridge()?.end(case.deadline.min(Instant::now() + END)),
    )
    .spoils(),
];

fn two_bridges(case: &Case) -> Seen {
    let other = case.another_bridge(case.server()?.address())?;
    other.settle()?;
    case.settle()?;
    for number in 0..20 {
        let sender = if number % 2 == 0 { case } else { &other };
        sender.send("a", &number.to_string())?;
    }
    let (first, second) = (case.drain()?, other.drain()?);
    let numbers: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    let sent: Vec<_> = numbers.iter().map(|text| ("a", text.as_str())).collect();
    Ok(if first != second {
        "different arrays"
    } else if words(&first) != sent {
        "other messages than were sent"
    } else {
        "the same array at both"
    }
    .into())
}

fn port_opens_subscribed(case: &Case) -> Seen {
    for _ in 0..3 {
        let fresh = case.another_bridge(case.server()?.address())?;
        fresh.tell("a", "first")?;
        if words(&fresh.settle()?) != [("a", "first")] {
            return Ok("missed".into());
        }
    }
    Ok("in a flush".into())
}

fn port_opens_soon(case: &Case) -> Seen {
    let started = Instant::now();
    case.another_bridge(case.server()?.address())?;
    let soon = started.elapsed() < SOON;
    Ok(if soon { "opens" } else { "opens later" }.into())
}

/// Starts the server anew on its port; it has been ended.
fn start_again(case: &Case) -> Result<(), Trouble> {
    let server = case.server()?;
    let port = server.address().rsplit(':').next();
    let port = port.and_then(|port| port.parse().ok()).unwrap_or_default();
    server.replace(case.subject.toolbox.server(server.peer(), port)?);
    Ok(())
}

fn server_restart(case: &Case) -> Seen {
    case.server()?.end(case.deadline)?;
    start_again(case)?;
    loop {
        case.tell("again", "")?;
        if case.flush()?.iter().any(|m| m.author == "again") {
            return Ok("arrive again".into());
        }
        case.pause()?;
    }
}

fn sent_while_reconnecting(case: &Case) -> Seen {
    let told = server_gone_flush(case)? == TOLD;
    start_again(case)?;
    case.tell("first", "")?;
    let mut got = Vec::new();
    loop {
        case.tell("again", "")?;
        got.extend(case.flush()?);
        if got.iter().any(|message| message.author == "again") {
            break;
        }
        case.pause()?;
    }
    let there = got.iter().any(|message| message.author == "first");
    Ok(if there || told {
        "in a flush, or they say so"
    } else {
        "lost without a word"
    }
    .into())
}

fn server_gone_flush(case: &Case) -> Seen {
    case.server()?.end(case.deadline)?;
    let noticed = Instant::now() + NOTICE;
    loop {
        let reply = case.ask(&post(FLUSH, "", b""))?;
        let status = reply.status;
        if let Some(subscribed) = reply.header("X-Messenger-Subscribed") {
            return Ok(format!(
                "{status} with X-Messenger-Subscribed: {subscribed}"
            ));
        }
        if status != 200 || Instant::now() > noticed {
            return Ok(format!("{status} without a word"));
        }
        case.pause()?;
    }
}
