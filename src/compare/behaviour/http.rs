//! HTTP/1.1 by hand, so that also what no library would send can be asked.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use httparse::Status::{Complete, Partial};
use serde_json::{Value, json};

use super::trouble::{Tried, Trouble, ensure, said};
use crate::chat::client::Message;
use crate::fanout::clock::Timestamp;

pub const SEND: &str = "/sendMessage";
pub const FLUSH: &str = "/getAndFlushMessages";

/// The most that is read of a head, and of a body.
const HEAD_BYTES: usize = 64 * 1024;
const BODY_BYTES: usize = 256 * 1024 * 1024;

/// A POST with its length and these further fields, each ended by CR LF.
pub fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("{fields}Content-Length: {}\r\n", body.len());
    [&bare("POST", path, &length), body].concat()
}

/// A request without a body and without its length.
pub fn bare(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

pub fn send(author: &str, text: &str) -> Vec<u8> {
    post(SEND, "", &send_body(author, text))
}

pub fn flush() -> Vec<u8> {
    post(FLUSH, "", b"")
}

/// The JSON of a send, in ASCII: what is not gets an escape.
pub fn send_body(author: &str, text: &str) -> Vec<u8> {
    let json = json!({"author": author, "text": text}).to_string();
    let ascii = json
        .encode_utf16()
        .flat_map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => vec![byte],
            _ => format!("\\u{unit:04x}").into_bytes(),
        });
    ascii.collect()
}

/// A connection to a bridge. Every wait ends at the deadline of the check.
pub struct Connection {
    pub socket: TcpStream,
    deadline: Instant,
    /// What has come and was not taken yet.
    bytes: Vec<u8>,
}

impl Connection {
    /// Connects, if somebody listens there.
    pub fn open(bridge: &str, deadline: Instant) -> Tried<Self> {
        let address = bridge.to_socket_addrs()?.next();
        let address = address.ok_or_else(|| Trouble::Said("no such address".into()))?;
        let socket = TcpStream::connect_timeout(&address, left(deadline)?)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            deadline,
            bytes: Vec::new(),
        })
    }

    /// Writes all of it. A peer that does not want it may have answered already,
    /// so that a broken connection shows in the answer.
    pub fn send(&mut self, bytes: &[u8]) -> Tried {
        let left = left(self.deadline)?;
        self.socket.set_write_timeout(Some(left))?;
        match self.socket.write_all(bytes).map_err(Trouble::from) {
            Err(Trouble::Hang) => Err(Trouble::Hang),
            _ => Ok(()),
        }
    }

    /// A whole answer.
    pub fn reply(&mut self) -> Tried<Reply> {
        let mut reply = self.head()?;
        if let Some(length) = reply.length {
            reply.body = self.body(length)?;
        } else if reply.header("Transfer-Encoding").is_some() {
            while self.chunk(&mut reply.body)? {}
        } else {
            while self.bytes.len() <= BODY_BYTES && self.more()? {}
            reply.body = self.body(self.bytes.len())?;
        }
        Ok(reply)
    }

    /// The head of an answer alone.
    pub fn head(&mut self) -> Tried<Reply> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut fields);
            match head.parse(&self.bytes) {
                Ok(Complete(length)) => {
                    let reply = Reply::of(&head)?;
                    self.bytes.drain(..length);
                    return Ok(reply);
                }
                Ok(Partial) if self.bytes.len() < HEAD_BYTES => {}
                _ => return said("an answer that is not HTTP"),
            }
            ensure(self.more()?, "connection closed without an answer")?;
        }
    }

    /// So many bytes of an answer's body.
    pub fn body(&mut self, length: usize) -> Tried<Vec<u8>> {
        ensure(length <= BODY_BYTES, "an endless answer")?;
        while self.bytes.len() < length {
            ensure(self.more()?, "connection closed in the middle of an answer")?;
        }
        Ok(self.bytes.drain(..length).collect())
    }

    /// Appends a chunk, and tells whether another one follows.
    fn chunk(&mut self, body: &mut Vec<u8>) -> Tried<bool> {
        loop {
            match httparse::parse_chunk_size(&self.bytes) {
                Ok(Complete((start, size))) => {
                    let size = usize::try_from(size).unwrap_or(BODY_BYTES);
                    let chunk = self.body(start + size + 2)?;
                    body.extend_from_slice(&chunk[start..start + size]);
                    ensure(body.len() <= BODY_BYTES, "an endless answer")?;
                    return Ok(size > 0);
                }
                Ok(Partial) if self.more()? => {}
                _ => return said("an invalid chunk"),
            }
        }
    }

    /// Waits until the other side has closed; a byte that comes is an error.
    pub fn closed(&mut self) -> Tried {
        ensure(
            self.bytes.is_empty() && !self.more()?,
            "more than one answer",
        )
    }

    /// Waits for more bytes; there are none at the end of the connection.
    fn more(&mut self) -> Tried<bool> {
        let left = left(self.deadline)?;
        self.socket.set_read_timeout(Some(left))?;
        let mut bytes = [0; 16 * 1024];
        let length = self.socket.read(&mut bytes)?;
        self.bytes.extend_from_slice(&bytes[..length]);
        Ok(length > 0)
    }
}

fn left(deadline: Instant) -> Tried<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Trouble::Hang),
        left => Ok(left),
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    fields: Vec<(String, String)>,
    /// What the field Content-Length says.
    pub length: Option<usize>,
    pub body: Vec<u8>,
}

impl Reply {
    fn of(head: &httparse::Response) -> Tried<Self> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let fields = head.headers.iter();
        let mut reply = Self {
            status: head.code.unwrap_or_default(),
            fields: fields.map(|f| (f.name.into(), text(f.value))).collect(),
            length: None,
            body: Vec::new(),
        };
        let length = reply.header("Content-Length").map(str::parse).transpose();
        reply.length = length.or_else(|_| said("an answer without a valid length"))?;
        Ok(reply)
    }

    /// The first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// `None` when the body is something else.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The time in the answer to a send.
    pub fn send_time(&self) -> Tried<Timestamp> {
        ensure(
            self.status == 200 && self.json().is_some(),
            &self.to_string(),
        )?;
        let time = time(&self.json().unwrap_or_default());
        time.map_or_else(|| said("200 without a sendTime"), Ok)
    }

    /// The messages in the answer to a flush. A field that is left out is empty.
    pub fn messages(&self) -> Tried<Vec<Message>> {
        let Some(Value::Array(items)) = self.json().filter(|_| self.status == 200) else {
            return said(format!("{self} to a flush"));
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let message = |item: &Value| Message {
            author: text(&item["author"]),
            text: text(&item["text"]),
            send_time: time(item).unwrap_or_default(),
        };
        let timed = items.iter().all(|item| time(item).is_some());
        ensure(timed, "a message without a sendTime")?;
        Ok(items.iter().map(message).collect())
    }
}

fn time(item: &Value) -> Option<Timestamp> {
    Timestamp::parse(item["sendTime"].as_str()?)
}

/// What kind of answer it is: status and form.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json();
        let word = |name: &str| {
            let word = json.as_ref().and_then(|json| json["error"][name].as_str());
            word.is_some_and(|word| !word.is_empty())
        };
        let kind = self.header("Content-Type").unwrap_or_default();
        let form = match () {
            () if word("code") && word("message") => " with a JSON error",
            () if json.is_some() => " with JSON",
            () if kind.starts_with("text/html") => " with an HTML page",
            () if kind.starts_with("text/") => " with text",
            () => "",
        };
        write!(f, "{}{form}", self.status)
    }
}
