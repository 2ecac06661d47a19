//! Requests that are wrong in HTTP's own terms; clients that are many, that stay,
//! that are slow, and that vanish; and the bridge without its server, its
//! beginning and its end.

use std::io;
use std::time::{Duration, Instant};

use super::case::{Case, concurrently, words};
use super::check::Checks;
use super::http::{FLUSH, SEND, bare, flush, post, send};
use super::trouble::{Tried, ensure, said};
use crate::chat::client::Message;
use crate::compare::load::process::free_port;

/// An answer of so many bytes is more than the sockets between the two can hold,
/// so that it is known not to have arrived.
const LARGE: usize = 8 << 20;

/// How long messages may take to be back after their client has vanished.
const BACK: Duration = Duration::from_secs(2);

const INVALID: &str = "400 with a JSON error";
const NOT_FOUND: &str = "404 with a JSON error";
const ONLY_POST: &str = "405 with a JSON error and Allow: POST";
const LARGE_BODY: &str = "413 with a JSON error";
const LARGE_HEADER: &str = "431 with a JSON error";
const ALL: &str = "all messages, in later flushes";
const KEPT_OR_TOLD: &str = "in a flush, or they say so";
const UNAVAILABLE: &str = "503 with a JSON error";
const TOLD: &str = "200 with X-Messenger-Subscribed: false";

/// Half of what a Python bridge waits for metadata, and more than any takes on a
/// busy machine that does not wait.
const SOON: Duration = Duration::from_secs(5);

/// How long a bridge may take to notice that its stream has ended.
const NOTICE: Duration = Duration::from_secs(3);

pub fn add(list: &mut Checks) {
    let nothing = post("/nothing", "", b"{}");
    list.title("POST to a path that there is not.");
    list.check("unknown-path", NOT_FOUND, answers(nothing));
    list.title("GET, PUT and DELETE on the paths that take POST.");
    list.check("wrong-method", ONLY_POST, |case| {
        for method in ["GET", "PUT", "DELETE"] {
            for path in [SEND, FLUSH] {
                let reply = case.ask(&bare(method, path, "Content-Length: 0\r\n"))?;
                let allow = reply.header("Allow").map(|a| format!(" and Allow: {a}"));
                case.sees(format!("{reply}{}", allow.unwrap_or_default()))?;
            }
        }
        Ok(())
    });
    let page = bare("GET", "/", "");
    list.title("GET / for people with a browser.");
    list.check("page", "200 with text", answers(page));
    let length = |length: &str| bare("POST", SEND, &format!("Content-Length: {length}\r\n"));
    list.title("A body of 1 MB is announced, and none is sent.");
    list.check("body-too-large", LARGE_BODY, answers(length("1000000")))
        .within(5);
    list.title("A Content-Length that is no number.");
    list.check("length-no-number", INVALID, answers(length("abc")));
    list.title("A Content-Length below zero.");
    list.check("length-negative", INVALID, answers(length("-1")))
        .within(5);
    let long = post(
        FLUSH,
        &format!("X-Field: {}\r\n", "x".repeat(20 << 10)),
        b"",
    );
    list.title("A header of 20 KiB.");
    list.check("header-too-large", LARGE_HEADER, answers(long));
    let many = post(FLUSH, &"X-Field: x\r\n".repeat(70), b"");
    list.title("A header of 70 fields.");
    list.check("header-many-fields", LARGE_HEADER, answers(many));
    list.title("Two requests, one after the other, on one connection.");
    list.check("keep-alive", "two answers", |case| {
        let mut connection = case.connect()?;
        for _ in 0..2 {
            connection.send(&send("a", "b"))?;
            let reply = connection.reply()?;
            ensure(reply.status == 200, &reply.to_string())?;
        }
        Ok(())
    });
    list.title("A client of HTTP/1.0.");
    list.check("http-1.0", "200, then closed", |case| {
        let mut connection = case.connect()?;
        let head = format!("POST {FLUSH} HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
        connection.send(head.as_bytes())?;
        let reply = connection.reply()?;
        connection.closed()?;
        case.sees(format!("{}, then closed", reply.status))
    });
    list.title("A request that comes byte by byte.");
    list.check("request-in-pieces", "200 with JSON", |case| {
        let mut connection = case.connect()?;
        for byte in send("a", "b") {
            connection.send(&[byte])?;
        }
        case.sees(connection.reply()?)
    });
    list.title("Twenty clients at a time.");
    list.check("twenty-clients", "20 answers", |case| {
        concurrently(20, |_| Ok(vec![case.send("a", "b")?])).map(drop)
    });
    list.title("A request while another client has sent half of its own.");
    list.check("slow-client", "200 with JSON", |case| {
        let mut slow = case.connect()?;
        slow.send(&bare("POST", SEND, "Content-Length: 100\r\n"))?;
        slow.send(b"{\"author\": \"a\"")?;
        case.sees(case.ask(&flush())?)
    })
    .within(5);
    list.title("A client asks for 12 MB of messages and vanishes in the middle of the answer.");
    list.check("vanished-client", ALL, |case| {
        let (chat, text) = (case.chat()?, "x".repeat(250 << 10));
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        loop {
            sent.extend(chat.send_each(0..48, &text)?);
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
        ensure(got.len() >= sent.len(), "messages lost")?;
        ensure(got == sent, "other messages")
    })
    .spoils();
    list.title("Two bridges at one server, and messages through both of them.");
    list.check("two-bridges", "the same array at both", |case| {
        let other = case.another_bridge(&case.server()?.address)?;
        other.settle()?;
        case.settle()?;
        let mut sent = Vec::new();
        for number in 0..20 {
            let sender = if number % 2 == 0 { case } else { &other };
            sent.push(sender.send("a", &number.to_string())?);
        }
        let (first, second) = (case.drain()?, other.drain()?);
        ensure(first == second, "different arrays")?;
        let same = words(&first) == words(&sent);
        ensure(same, "other messages than were sent")
    })
    .within(40);
    list.title("What is sent when a new bridge's port has just opened, three times.");
    list.check("port-opens-subscribed", "in a flush", |case| {
        for _ in 0..3 {
            let fresh = case.another_bridge(&case.server()?.address)?;
            fresh.tell("a", "first")?;
            let got = fresh.settle()?;
            ensure(words(&got) == [("a", "first")], "missed")?;
        }
        Ok(())
    })
    .within(60);
    list.title("A bridge starts, and nobody sends anything: its port opens within 5 s.");
    list.check("port-opens-soon", "opens", |case| {
        let started = Instant::now();
        case.another_bridge(&case.server()?.address)?;
        ensure(started.elapsed() < SOON, "opens later")
    })
    .within(40);
    list.title("The server is ended and started again: messages arrive again.");
    list.check("server-restart", "arrive again", |case| {
        case.server()?.end()?;
        until_it_arrives(case).map(drop)
    })
    .spoils();
    list.title(
        "What is sent as soon as a server is back is in a flush, or the flushes say \
         meanwhile that they may lack something.",
    );
    list.check("sent-while-reconnecting", KEPT_OR_TOLD, |case| {
        let told = without_server(case)? == TOLD;
        let got = until_it_arrives(case)?;
        let there = got.iter().any(|message| message.author == "first");
        ensure(there || told, "lost without a word")
    })
    .within(20)
    .spoils();
    list.title("A send after the end of the server.");
    list.check("server-gone-send", UNAVAILABLE, |case| {
        case.server()?.end()?;
        case.sees(case.ask(&send("a", "b"))?)
    })
    .spoils();
    list.title("A flush after the end of the server.");
    list.check("server-gone-flush", TOLD, |case| {
        case.sees(without_server(case)?)
    })
    .spoils();
    list.title("A send through a bridge that never had a server.");
    list.check("no-server", UNAVAILABLE, |case| {
        let lonely = case.another_bridge(&format!("127.0.0.1:{}", free_port()?))?;
        case.sees(lonely.ask(&send("a", "b"))?)
    })
    .within(40);
    list.title("The bridge gets SIGTERM.");
    list.check("bridge-end", "exit code 0", |case| {
        case.sees(case.bridge()?.end()?)
    })
    .spoils();
}

/// What kind of answer comes.
fn answers(request: Vec<u8>) -> impl Fn(&Case) -> Tried {
    move |case| case.sees(case.ask(&request)?)
}

/// Asks for a flush, and vanishes when a large answer has begun. A smaller one
/// might count as taken: it is read and returned.
fn torn_flush(case: &Case) -> Tried<Option<Vec<Message>>> {
    let mut connection = case.connect()?;
    connection.send(&flush())?;
    let mut reply = connection.head()?;
    let Some(length) = reply.length else {
        return said("a flush without a length");
    };
    if length > LARGE {
        // Closed with a reset.
        let at_once = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&connection.socket, at_once)
            .map_err(io::Error::from)?;
        return Ok(None);
    }
    reply.body = connection.body(length)?;
    reply.messages().map(Some)
}

/// Starts the server anew and sends: what the bridge gets up to the first that it
/// is known to get again.
fn until_it_arrives(case: &Case) -> Tried<Vec<Message>> {
    case.server()?.start_again(&case.subject.toolbox)?;
    case.tell("first", "")?;
    let mut got = Vec::new();
    while !got
        .iter()
        .any(|message: &Message| message.author == "again")
    {
        case.tell("again", "")?;
        got.extend(case.flush()?);
        case.pause()?;
    }
    Ok(got)
}

/// Ends the server: what flushes say then, which may take a bridge a while.
fn without_server(case: &Case) -> Tried<String> {
    case.server()?.end()?;
    let noticed = Instant::now() + NOTICE;
    loop {
        let reply = case.ask(&flush())?;
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
