//! HTTP requests to a bridge, by ureq.

use std::time::Duration;

use serde_json::{Value, json};

use super::nanos;

pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {:?}", self.status, self.body))
    }
}

/// One request on a connection of its own.
pub fn request(
    method: &str,
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(30)));
    let agent = config.build().new_agent();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = if matches!(method, "GET" | "HEAD" | "DELETE") {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body.to_owned()).unwrap())
    };
    let mut answer = answer.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
    let body = answer
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: body.unwrap_or_else(|e| panic!("{method} {path}: {e}")),
    }
}

pub fn post(port: u16, path: &str, body: &str) -> Answer {
    request("POST", port, path, &[], body)
}

/// Sends a message through a bridge and returns its time.
pub fn send(port: u16, author: &str, text: &str) -> i64 {
    let body = ascii(&json!({"author": author, "text": text}).to_string());
    let answer = post(port, "/sendMessage", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    nanos(answer["sendTime"].as_str().unwrap())
}

/// A message as all programs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub author: String,
    pub text: String,
    pub nanos: i64,
}

pub fn seen(author: &str, text: &str, nanos: i64) -> Seen {
    Seen {
        author: author.into(),
        text: text.into(),
        nanos,
    }
}

pub fn flush(port: u16) -> Vec<Seen> {
    let answer = post(port, "/getAndFlushMessages", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    messages(&answer.json())
}

pub fn messages(array: &Value) -> Vec<Seen> {
    // A Python program leaves out fields that are empty.
    let field = |message: &Value, name: &str| message[name].as_str().unwrap_or("").to_owned();
    let messages = array.as_array().expect("an array").iter();
    let message = |message| Seen {
        author: field(message, "author"),
        text: field(message, "text"),
        nanos: nanos(&field(message, "sendTime")),
    };
    messages.map(message).collect()
}

/// The same JSON in ASCII: what is not gets an escape.
pub fn ascii(json: &str) -> String {
    let mut out = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => out += &format!("\\u{unit:04x}"),
        }
    }
    out
}
