//! `POST /sendMessage`: what is taken and how it arrives.

use serde_json::json;

use crate::compare::behaviour::case::{Case, words};
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::http::{self, SEND, bare, post, send_body};
use crate::compare::behaviour::trouble::Seen;

const ARRIVES: &str = "200, and arrives as it was sent";
const REFUSED: &str = "400 with a JSON error";

pub const CHECKS: &[Check] = &[
    Check::new(
        "send",
        "A send is answered with its sendTime and nothing else.",
        "200 with a sendTime alone",
        send,
    ),
    Check::new("send-text", "An ordinary message.", ARRIVES, |case| {
        carried(case, "anna", "Hello")
    }),
    Check::new(
        "send-escaped",
        "Texts in any script as \\u escapes, also surrogate pairs and null.",
        ARRIVES,
        |case| carried(case, "анна", "Привет, 世界 \u{1f980} \0\u{7f}\"\\\r\n\t/"),
    ),
    Check::new("send-utf8", "Texts in raw UTF-8.", ARRIVES, |case| {
        let body = json!({"author": "анна", "text": "世界 \u{1f980}"});
        arrives(case, &body.to_string(), "анна", "世界 \u{1f980}")
    }),
    Check::new("send-empty", "Empty author and text.", ARRIVES, |case| {
        carried(case, "", "")
    }),
    Check::new("send-absent", "No author and no text.", ARRIVES, |case| {
        arrives(case, "{}", "", "")
    }),
    Check::new("send-null", "A null for the author.", ARRIVES, |case| {
        arrives(case, r#"{"author":null,"text":"t"}"#, "", "t")
    }),
    Check::new("send-64k", "A text of 64 KiB.", ARRIVES, |case| {
        carried(case, "a", &"x".repeat(64 << 10))
    }),
    Check::new("send-256k", "A text of 256 KiB.", ARRIVES, |case| {
        carried(case, "a", &"x".repeat(256 << 10))
    }),
    Check::new(
        "send-content-type",
        "A body that is called a form, as by curl.",
        ARRIVES,
        |case| {
            let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
            let request = post(SEND, fields, send_body("a", "form").as_bytes());
            request_arrives(case, &request, "a", "form")
        },
    ),
    Check::new("send-chunked", "A body in chunks.", ARRIVES, |case| {
        let head = bare("POST", SEND, "Transfer-Encoding: chunked\r\n");
        let chunks = b"7\r\n{\"text\"\r\nb\r\n:\"chunked\"}\r\n0\r\n\r\n";
        request_arrives(case, &[&head, &chunks[..]].concat(), "", "chunked")
    }),
    Check::new("send-query", "A path with a query.", ARRIVES, |case| {
        let path = format!("{SEND}?x=1");
        let request = post(&path, "", send_body("a", "query").as_bytes());
        request_arrives(case, &request, "a", "query")
    }),
    Check::new("bad-json", "Half of a JSON object.", REFUSED, |case| {
        refused(case, r#"{"author":"a""#)
    }),
    Check::new("form-body", "A form instead of JSON.", REFUSED, |case| {
        refused(case, "author=a&text=b")
    }),
    Check::new("wrong-type", "A number for the author.", REFUSED, |case| {
        refused(case, r#"{"author":5}"#)
    }),
    Check::new("misspelt-field", "An unknown field.", REFUSED, |case| {
        refused(case, r#"{"autor":"a"}"#)
    }),
    Check::new("not-an-object", "An empty array.", REFUSED, |case| {
        refused(case, "[]")
    }),
    Check::new("send-nothing", "An empty body.", REFUSED, |case| {
        refused(case, "")
    }),
    Check::new(
        "send-no-length",
        "Neither a body nor a length.",
        REFUSED,
        |case| request_refused(case, &bare("POST", SEND, "")),
    ),
];

fn send(case: &Case) -> Seen {
    let reply = case.post(&send_body("a", "b"))?;
    http::send_time(&reply)?;
    let fields = reply.json().and_then(|json| Some(json.as_object()?.len()));
    Ok(match fields {
        Some(1) => "200 with a sendTime alone",
        _ => "200 with more than a sendTime",
    }
    .into())
}

fn carried(case: &Case, author: &str, text: &str) -> Seen {
    arrives(case, &send_body(author, text), author, text)
}

fn arrives(case: &Case, body: &str, author: &str, text: &str) -> Seen {
    request_arrives(case, &post(SEND, "", body.as_bytes()), author, text)
}

fn request_arrives(case: &Case, request: &[u8], author: &str, text: &str) -> Seen {
    let reply = case.ask(request)?;
    if reply.status != 200 {
        return Ok(reply.to_string());
    }
    let got = case.drain()?;
    let got = words(&got);
    Ok(if got == [(author, text)] {
        ARRIVES
    } else if got.is_empty() {
        "200, and never arrives"
    } else {
        "200, and arrives otherwise"
    }
    .into())
}

fn refused(case: &Case, body: &str) -> Seen {
    request_refused(case, &post(SEND, "", body.as_bytes()))
}

fn request_refused(case: &Case, request: &[u8]) -> Seen {
    let reply = case.ask(request)?;
    if reply.status == 200 {
        return Ok("200, taken for a message".into());
    }
    let nothing = case.drain()?.is_empty();
    let then = if nothing { "" } else { ", and arrives" };
    Ok(format!("{reply}{then}"))
}
