//! HTTP/1.1 by hand, so that also what no library would send can be asked.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::trouble::{Trouble, said};
use crate::chat::client::Message;
use crate::fanout::clock::Timestamp;

pub const SEND: &str = "/sendMessage";
pub const FLUSH: &str = "/getAndFlushMessages";

/// The most that is read of a head, and of a body.
const HEAD_BYTES: usize = 64 * 1024;
const BODY_BYTES: u64 = 256 * 1024 * 1024;

/// A connection to a bridge. Every wait ends at the deadline of the check.
pub struct Connection {
    stream: BufReader<TcpStream>,
    deadline: Instant,
}

impl Connection {
    /// # Errors
    /// `Said` when nobody listens there.
    pub fn open(bridge: &str, deadline: Instant) -> Result<Self, Trouble> {
        use std::net::ToSocketAddrs as _;
        let address = bridge.to_socket_addrs()?.next();
        let address = address.ok_or_else(|| Trouble::Said("no such address".into()))?;
        let stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
        stream.set_nodelay(true)?;
        // A small buffer, so that little is read ahead of what is asked for.
        let stream = BufReader::with_capacity(1024, stream);
        Ok(Self { stream, deadline })
    }

    /// For what is not HTTP.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Writes all of it. A peer that does not want it may have answered already,
    /// so that a broken connection shows in the answer.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Trouble> {
        self.socket()
            .set_write_timeout(Some(left(self.deadline)?))?;
        match self.socket().write_all(bytes) {
            Ok(()) => Ok(()),
            Err(error) => match Trouble::from(error) {
                Trouble::Hang => Err(Trouble::Hang),
                _ => Ok(()),
            },
        }
    }

    /// A whole answer; interim ones are skipped.
    ///
    /// # Errors
    /// `Said` when the connection ends before, or what comes is not HTTP.
    pub fn reply(&mut self) -> Result<Reply, Trouble> {
        let mut reply = self.head()?;
        while reply.status < 200 {
            reply = self.head()?;
        }
        let length = reply.header("Content-Length").map(str::parse::<u64>);
        match length {
            Some(Ok(length)) if length > BODY_BYTES => return said("an endless answer"),
            Some(Ok(length)) => self.read(length, &mut reply.body)?,
            Some(Err(_)) => return said("an answer without a valid length"),
            None if reply.header("Transfer-Encoding").is_some() => loop {
                let size = self.line()?;
                let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16);
                let size = size.map_err(|_| Trouble::Said("an invalid chunk".into()))?;
                if size.saturating_add(reply.body.len() as u64) > BODY_BYTES {
                    return said("an endless answer");
                }
                self.read(size, &mut reply.body)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            },
            None => {
                self.wait()?;
                let mut rest = self.stream.by_ref().take(BODY_BYTES);
                rest.read_to_end(&mut reply.body)?;
            }
        }
        Ok(reply)
    }

    /// The head of an answer alone.
    pub fn head(&mut self) -> Result<Reply, Trouble> {
        let mut head = self.line()?;
        let mut words = head.split(' ');
        let version = words.next().is_some_and(|v| v.starts_with("HTTP/1."));
        let status = words.next().and_then(|status| status.parse().ok());
        let (true, Some(status)) = (version, status) else {
            return said("an answer that is not HTTP");
        };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if head.len() > HEAD_BYTES {
                return said("an endless head");
            }
            head = head + "\n" + &line;
        }
        Ok(Reply {
            status,
            head,
            body: Vec::new(),
        })
    }

    /// Waits until the other side has closed; a byte that comes is an error.
    pub fn closed(&mut self) -> Result<(), Trouble> {
        self.wait()?;
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => said("more than one answer"),
        }
    }

    fn line(&mut self) -> Result<String, Trouble> {
        self.wait()?;
        let mut line = Vec::new();
        let limit = HEAD_BYTES as u64;
        self.stream
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return said("connection closed without an answer");
        }
        let line = String::from_utf8_lossy(&line);
        Ok(line.trim_end_matches('\r').to_owned())
    }

    /// Appends so many bytes of an answer's body.
    pub fn read(&mut self, length: u64, body: &mut Vec<u8>) -> Result<(), Trouble> {
        self.wait()?;
        let read = self.stream.by_ref().take(length).read_to_end(body)?;
        if (read as u64) < length {
            return said("connection closed in the middle of an answer");
        }
        Ok(())
    }

    /// Lets the next reads take what is left of the time.
    fn wait(&self) -> Result<(), Trouble> {
        let left = left(self.deadline)?;
        Ok(self.socket().set_read_timeout(Some(left))?)
    }
}

fn left(deadline: Instant) -> Result<Duration, Trouble> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Trouble::Hang),
        left => Ok(left),
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }

    /// `None` when the body is something else.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// What kind of answer it is: status and form.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json();
        let error = json.as_ref().map(|json| &json["error"]);
        let word =
            |name: &str| error.is_some_and(|e| e[name].as_str().is_some_and(|s| !s.is_empty()));
        let kind = self.header("Content-Type").unwrap_or_default();
        let form = if word("code") && word("message") {
            " with a JSON error"
        } else if json.is_some() {
            " with JSON"
        } else if kind.starts_with("text/html") {
            " with an HTML page"
        } else if kind.starts_with("text/") {
            " with text"
        } else {
            ""
        };
        write!(f, "{}{form}", self.status)
    }
}

/// A POST with its length and these further fields, each ended by CR LF.
pub fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A request without a body and without its length.
pub fn bare(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

/// The JSON of a send, in ASCII: what is not gets an escape.
pub fn send_body(author: &str, text: &str) -> String {
    let mut out = String::new();
    for unit in json!({"author": author, "text": text})
        .to_string()
        .encode_utf16()
    {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => out += &format!("\\u{unit:04x}"),
        }
    }
    out
}

/// The time in the answer to a send.
pub fn send_time(reply: &Reply) -> Result<Timestamp, Trouble> {
    let json = reply.json().filter(|_| reply.status == 200);
    match json.map(|json| time(&json["sendTime"])) {
        Some(Some(time)) => Ok(time),
        Some(None) => said("200 without a sendTime"),
        None => said(reply.to_string()),
    }
}

/// The messages in the answer to a flush. A field that is left out is empty.
pub fn messages(reply: &Reply) -> Result<Vec<Message>, Trouble> {
    let json = reply.json().filter(|_| reply.status == 200);
    let Some(Value::Array(items)) = json else {
        return said(format!("{reply} to a flush"));
    };
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let message = |item: &Value| {
        let send_time = time(&item["sendTime"])?;
        let (author, text) = (text(item, "author"), text(item, "text"));
        Some(Message {
            author,
            text,
            send_time,
        })
    };
    let messages: Option<Vec<_>> = items.iter().map(message).collect();
    messages.ok_or_else(|| Trouble::Said("a message without a sendTime".into()))
}

fn time(value: &Value) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    time.timestamp_nanos_opt().map(Timestamp::from_nanos)
}
