//! `POST /sendMessage`, what is taken and how it arrives; and
//! `POST /getAndFlushMessages`, what is in it, once and in order.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::case::{Case, concurrently, words};
use super::check::Checks;
use super::http::{FLUSH, Reply, SEND, bare, flush, post, send, send_body};
use super::trouble::{Tried, ensure, said};

const ARRIVES: &str = "200, and arrives as it was sent";
const REFUSED: &str = "400 with a JSON error";
const MESSAGE: &str = "the message, once";

pub fn add(list: &mut Checks) {
    list.title("A send is answered with its sendTime and nothing else.");
    list.check("send", "200 with a sendTime alone", |case| {
        let reply = case.ask(&send("a", "b"))?;
        reply.send_time()?;
        let fields = reply.json().and_then(|json| Some(json.as_object()?.len()));
        ensure(fields == Some(1), "200 with more than a sendTime")
    });
    list.title("An ordinary message.");
    list.check("send-text", ARRIVES, carried("anna", "Hello"));
    let any = "Привет, 世界 \u{1f980} \0\u{7f}\"\\\r\n\t/";
    list.title("Texts in any script as \\u escapes, also surrogate pairs and null.");
    list.check("send-escaped", ARRIVES, carried("анна", any));
    let utf8 = post(SEND, "", r#"{"author":"анна","text":"世界 🦀"}"#.as_bytes());
    list.title("Texts in raw UTF-8.");
    list.check("send-utf8", ARRIVES, arrives(utf8, "анна", "世界 🦀"));
    list.title("Empty author and text.");
    list.check("send-empty", ARRIVES, carried("", ""));
    let absent = post(SEND, "", b"{}");
    list.title("No author and no text.");
    list.check("send-absent", ARRIVES, arrives(absent, "", ""));
    let null = post(SEND, "", br#"{"author":null,"text":"t"}"#);
    list.title("A null for the author.");
    list.check("send-null", ARRIVES, arrives(null, "", "t"));
    list.title("A text of 64 KiB.");
    list.check("send-64k", ARRIVES, carried("a", &"x".repeat(64 << 10)));
    list.title("A text of 256 KiB.");
    list.check("send-256k", ARRIVES, carried("a", &"x".repeat(256 << 10)));
    let field = "Content-Type: application/x-www-form-urlencoded\r\n";
    let form = post(SEND, field, &send_body("a", "form"));
    list.title("A body that is called a form, as by curl.");
    list.check("send-content-type", ARRIVES, arrives(form, "a", "form"));
    let head = bare("POST", SEND, "Transfer-Encoding: chunked\r\n");
    let chunks = b"7\r\n{\"text\"\r\nb\r\n:\"chunked\"}\r\n0\r\n\r\n";
    let chunked = [&head, &chunks[..]].concat();
    list.title("A body in chunks.");
    list.check("send-chunked", ARRIVES, arrives(chunked, "", "chunked"));
    let query = post("/sendMessage?x=1", "", &send_body("a", "query"));
    list.title("A path with a query.");
    list.check("send-query", ARRIVES, arrives(query, "a", "query"));
    for (name, title, body) in [
        ("bad-json", "Half of a JSON object.", r#"{"author":"a""#),
        ("form-body", "A form instead of JSON.", "author=a&text=b"),
        ("wrong-type", "A number for the author.", r#"{"author":5}"#),
        ("misspelt-field", "An unknown field.", r#"{"autor":"a"}"#),
        ("not-an-object", "An empty array.", "[]"),
        ("send-nothing", "An empty body.", ""),
    ] {
        let request = post(SEND, "", body.as_bytes());
        list.title(title);
        list.check(name, REFUSED, refused(request));
    }
    list.title("Neither a body nor a length.");
    list.check("send-no-length", REFUSED, refused(bare("POST", SEND, "")));
    list.title("A message that was sent over gRPC is in a flush.");
    list.check("flush", MESSAGE, flushes(flush()));
    list.title("A flush without a body and without its length, as by curl -X POST.");
    list.check("flush-no-length", MESSAGE, flushes(bare("POST", FLUSH, "")));
    let body = post(FLUSH, "", b"{\"any\": [\"thing\"]}");
    list.title("A flush with a body, which is ignored.");
    list.check("flush-body", MESSAGE, flushes(body));
    list.title("A flush when there is nothing.");
    list.check("flush-nothing", "200 with []", |case| {
        let reply = case.ask(&flush())?;
        let empty = reply.json() == Some(json!([])) && reply.status == 200;
        ensure(empty, &format!("{reply} that is not []"))
    });
    list.title("A second flush, right after the first.");
    list.check("flush-once", "nothing of the first one", |case| {
        case.tell("anna", "Hello")?;
        case.drain()?;
        ensure(case.flush()?.is_empty(), "messages once more")
    });
    list.title("Two clients send over HTTP and one over gRPC, all at a time.");
    list.check("flush-order", "the order of the stream", |case| {
        let mut reader = case.reader()?;
        let sent = concurrently(3, |sender| match sender {
            0 => case.chat()?.send_each(0..20, "gRPC"),
            _ => {
                let author = format!("HTTP {sender}");
                let sent = (0..20).map(|text| case.send(&author, &text.to_string()));
                sent.collect()
            }
        })?;
        let (stream, flushed) = (reader.read_up()?, case.drain()?);
        let alike = words(&stream) == words(&flushed);
        ensure(alike, "another order or other messages")?;
        ensure(stream.len() == sent.len(), "other messages than were sent")
    });
    list.title("Four clients flush while 200 messages arrive.");
    list.check("flush-concurrently", "each message once", |case| {
        let sending = AtomicBool::new(true);
        let mut got = concurrently(5, |client| {
            if client == 0 {
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
        })?;
        got.extend(case.drain()?);
        let mut authors: Vec<_> = got.into_iter().map(|message| message.author).collect();
        let all = authors.len();
        authors.sort_unstable();
        authors.dedup();
        ensure(authors.len() == 200, "messages lost")?;
        ensure(all == 200, "messages twice")
    });
    list.title("A flush right after a send through the same bridge, 20 times.");
    list.check("flush-own", "all of them", |case| {
        for _ in 0..20 {
            let sent = case.send("anna", "own")?;
            ensure(case.flush()?.contains(&sent), "not all of them")?;
            // A late one must not be taken for the next.
            case.drain()?;
        }
        Ok(())
    });
    list.title("The times in the answer, in the stream and in the flush, to the nanosecond.");
    list.check("bridge-times", "the same time", |case| {
        let mut reader = case.reader()?;
        for number in 0..20 {
            let sent = [case.send("a", &number.to_string())?];
            let stream = reader.read_up()?;
            ensure(stream == sent, "another time in the answer")?;
            ensure(case.drain()? == stream, "another time in the flush")?;
        }
        Ok(())
    });
    list.title("The fraction of each of 20 times, as text.");
    list.check("time-digits", "nine digits and Z", |case| {
        for _ in 0..20 {
            let answer = case.ask(&send("a", "b"))?.json().unwrap_or_default();
            let (_, flushed) = flushed(case, "a", "b")?;
            for answer in [answer, flushed] {
                let time = answer["sendTime"].as_str().unwrap_or_default();
                let fraction = time.strip_suffix('Z').and_then(|t| t.split_once('.'));
                let nine = fraction.is_some_and(|(_, fraction)| fraction.len() == 9);
                ensure(nine, "fewer digits")?;
            }
        }
        Ok(())
    });
    list.title("A message without author and text.");
    list.check("flush-empty-fields", "author, text and sendTime", |case| {
        let (_, message) = flushed(case, "", "")?;
        let mut names = vec!["author", "text", "sendTime"];
        names.retain(|name| message.get(name).is_some());
        ensure(names.len() == 3, &format!("{} alone", names.join(" and ")))
    });
    list.title("How a text that is not ASCII is written.");
    list.check("flush-utf8", "UTF-8", |case| {
        let (reply, _) = flushed(case, "a", "世界")?;
        let raw = String::from_utf8_lossy(&reply.body).contains("世界");
        ensure(raw, "escapes")
    });
    list.title("The Content-Type of the answers to a send and to a flush.");
    list.check("content-type", "application/json; charset=utf-8", |case| {
        for request in [send("a", "b"), flush()] {
            let reply = case.ask(&request)?;
            case.sees(reply.header("Content-Type").unwrap_or("none"))?;
        }
        Ok(())
    });
}

fn carried(author: &str, text: &str) -> impl Fn(&Case) -> Tried + use<> {
    arrives(send(author, text), author, text)
}

/// The request sends a message of this author and text.
fn arrives(request: Vec<u8>, author: &str, text: &str) -> impl Fn(&Case) -> Tried + use<> {
    let [author, text] = [author, text].map(str::to_owned);
    move |case| {
        let reply = case.ask(&request)?;
        ensure(reply.status == 200, &reply.to_string())?;
        let got = case.drain()?;
        ensure(!got.is_empty(), "200, and never arrives")?;
        let same = words(&got) == [(&*author, &*text)];
        ensure(same, "200, and arrives otherwise")
    }
}

fn refused(request: Vec<u8>) -> impl Fn(&Case) -> Tried {
    move |case| {
        let reply = case.ask(&request)?;
        ensure(reply.status != 200, "200, taken for a message")?;
        ensure(case.drain()?.is_empty(), &format!("{reply}, and arrives"))?;
        case.sees(reply)
    }
}

/// The request is a flush.
fn flushes(request: Vec<u8>) -> impl Fn(&Case) -> Tried {
    move |case| {
        let sent = case.tell("anna", "Hello")?;
        let got = case.drain_by(&request)?;
        ensure(words(&got) == words(&[sent]), "other messages")
    }
}

/// Sends straight to the server: the first flush that is not empty and the last
/// message in it, as they are.
fn flushed(case: &Case, author: &str, text: &str) -> Tried<(Reply, Value)> {
    case.tell(author, text)?;
    loop {
        let reply = case.ask(&flush())?;
        let Some(Value::Array(mut all)) = reply.json() else {
            return said(reply.to_string());
        };
        if let Some(message) = all.pop() {
            return Ok((reply, message));
        }
        case.pause()?;
    }
}
