//! A client of HTTP that can also do what a client should not.

use std::io::{self, Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send, sockopt};

/// What a client waits for an answer, and for each part of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Small, so that the bridge sees early that a client does not read.
const RECEIVE_BUFFER: usize = 32 * 1024;

pub struct Http {
    port: u16,
    /// With `keep_alive` the connection of the answer before.
    kept: Option<TcpStream>,
    keep_alive: bool,
}

/// The head of an answer, and of its body what has come so far.
pub struct Answer {
    stream: TcpStream,
    until: Instant,
    pub status: u16,
    length: usize,
    pub dropped: u64,
    pub subscribed: bool,
    pub gap: bool,
    pub body: Vec<u8>,
}

impl Http {
    pub fn new(port: u16, keep_alive: bool) -> Self {
        Self {
            port,
            kept: None,
            keep_alive,
        }
    }

    fn connect(&mut self) -> io::Result<TcpStream> {
        if let Some(kept) = self.kept.take() {
            return Ok(kept);
        }
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        sockopt::set_socket_recv_buffer_size(&stream, RECEIVE_BUFFER)?;
        Ok(stream)
    }

    fn request(&self, path: &str, body: &str) -> Vec<u8> {
        let connection = if self.keep_alive {
            "keep-alive"
        } else {
            "close"
        };
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Sends a request, waits so long, and reads the head of its answer.
    pub fn ask(&mut self, path: &str, body: &str, stall: Duration) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(&self.request(path, body))?;
        std::thread::sleep(stall);
        Answer::begin(stream)
    }

    /// All of an answer, after its head.
    pub fn finish(&mut self, answer: &mut Answer) -> io::Result<()> {
        while answer.body.len() < answer.length {
            let Answer { stream, body, .. } = answer;
            read(stream, answer.until, body)?;
        }
        if self.keep_alive {
            self.kept = Some(answer.stream.try_clone()?);
        }
        Ok(())
    }

    /// Sends so much of a request that its end is missing, and leaves.
    pub fn half(&mut self, path: &str, body: &str, missing: usize) {
        if let Ok(mut stream) = self.connect() {
            let request = self.request(path, body);
            let _ = stream.write_all(&request[..request.len() - missing]);
        }
    }

    /// Sends a request whose last segment has the end of the connection too: the
    /// client is gone before anybody can answer. Whether the request was sent.
    pub fn ask_and_leave(&mut self, path: &str) -> io::Result<()> {
        let stream = self.connect()?;
        send(&stream, &self.request(path, ""), SendFlags::MORE)?;
        Ok(())
    }
}

impl Answer {
    fn begin(mut stream: TcpStream) -> io::Result<Self> {
        let (mut bytes, until) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            read(&mut stream, until, &mut bytes)?;
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut fields);
            let parsed = head.parse(&bytes).map_err(Error::other)?;
            let httparse::Status::Complete(size) = parsed else {
                continue;
            };
            let field = |name: &str| {
                let mut named = head.headers.iter();
                let field = named.find(|field| field.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(field.value).ok()
            };
            let number = |name| field(name).and_then(|value| value.parse().ok());
            let (status, length) = (head.code, number("Content-Length"));
            let dropped = number("X-Messenger-Dropped").unwrap_or(0);
            let subscribed = field("X-Messenger-Subscribed").is_none();
            let gap = field("X-Messenger-Gap").is_some();
            return Ok(Self {
                stream,
                until,
                status: status.unwrap_or(0),
                length: usize::try_from(length.expect("a length")).expect("a size"),
                dropped,
                subscribed,
                gap,
                body: bytes.split_off(size),
            });
        }
    }

    pub fn missing(&self) -> usize {
        self.length - self.body.len()
    }

    /// Resets the connection with all that was not read.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("a socket");
    }
}

fn read(stream: &mut TcpStream, until: Instant, bytes: &mut Vec<u8>) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece)?;
    if count == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    bytes.extend_from_slice(&piece[..count]);
    Ok(())
}
