//! A client that costs next to nothing: SendMessage calls on one TCP connection to each
//! server and many ReadMessages or Subscribe streams, each on a connection of its own, all
//! on one thread, as plain HTTP/2 frames. With the crate h2 in its place, the load took up to five
//! times the CPU time, and the server's calls looked a fifth slower than they are
//! (docs/comparison.md).
//!
//! Sources: RFC 9113 (frames), RFC 7541 (headers as literals and from the static
//! table), <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

pub mod frames;

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::SslStream;
use protobuf::Message as _;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::process::Program;
use super::secured::Secured;
use crate::chat::client::Message;
use crate::chat::wire::{
    self, ChatMessage, SendMessageRequest, SendMessageResponse, SubscribeResponse,
};
use frames::{FRAME_HEAD, Head, MESSAGE_HEAD};

/// What has come in.
pub enum Event {
    /// Readers count from 0.
    Message { reader: usize, message: Message },
    /// A SendMessage call was answered after so long.
    Answered { latency: Duration },
}

/// Open connections to one server or several, served by whoever calls [`Wire::poll`].
pub struct Wire {
    servers: Vec<Peer>,
    epoll: rustix::fd::OwnedFd,
    /// The first ones make calls, one for each server; each other one is a reader.
    connections: Vec<Connection>,
    /// Which method the readers call.
    subscribe: bool,
}

/// A server, and the calls to it.
struct Peer {
    address: String,
    secured: Option<Arc<Secured>>,
    next_stream: u32,
    /// Number of a call's stream and when it was opened; answers come in any order.
    calls: VecDeque<(u32, Instant)>,
    /// Bytes of calls that the server still takes.
    window: i64,
}

struct Connection {
    line: Line,
    /// Bytes of frames that are not whole yet.
    incoming: Vec<u8>,
    /// Bytes of a message that is not whole yet. Answers to calls are so short
    /// that no server spreads one over frames.
    message: Vec<u8>,
    outgoing: Vec<u8>,
}

enum Line {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Wire {
    /// # Errors
    /// When the server cannot be reached.
    pub fn new(server: &Program) -> io::Result<Self> {
        Self::to(&[server])
    }

    /// # Errors
    /// When one of the servers cannot be reached.
    pub fn to(servers: &[&Program]) -> io::Result<Self> {
        let peer = |server: &&Program| Peer {
            address: server.address().to_owned(),
            secured: server.secured.clone(),
            next_stream: 1,
            calls: VecDeque::new(),
            window: i64::from(frames::FIRST_WINDOW),
        };
        let mut wire = Self {
            servers: servers.iter().map(peer).collect(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            subscribe: false,
        };
        for server in 0..servers.len() {
            wire.connect(server)?;
        }
        Ok(wire)
    }

    fn connect(&mut self, server: usize) -> io::Result<&mut Connection> {
        let server = &self.servers[server];
        let socket = TcpStream::connect(&server.address)?;
        socket.set_nodelay(true)?;
        let index = self.connections.len();
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        let line = match &server.secured {
            None => Line::Plain(socket),
            Some(secured) => Line::Tls(Box::new(secured.connect(socket)?)),
        };
        self.connections.push(Connection {
            line,
            incoming: Vec::new(),
            message: Vec::new(),
            outgoing: frames::hello(),
        });
        Ok(&mut self.connections[index])
    }

    /// Opens so many ReadMessages streams, or Subscribe streams, one after the other, at
    /// each server in turn.
    /// ReadMessages does not tell when one is registered; a message that it brings does.
    ///
    /// # Errors
    /// When a connection cannot be made, or the server ends a stream.
    pub fn read(&mut self, count: usize, subscribe: bool) -> io::Result<()> {
        self.subscribe = subscribe;
        let method = match subscribe {
            true => wire::SUBSCRIBE.name,
            false => wire::READ_MESSAGES.name,
        };
        for reader in 0..count {
            let server = reader % self.servers.len();
            let headers = self.servers[server].headers(method);
            let connection = self.connect(server)?;
            // From now on: both requests are empty then.
            frames::request(&mut connection.outgoing, 1, &headers, &[]);
            connection.flush()?;
            // The server's pings want an answer while others are still opened.
            self.poll(Duration::ZERO, |_| {})?;
        }
        Ok(())
    }

    /// Opens one more SendMessage call to a server, which count from 0, to be sent by the
    /// next [`Wire::poll`]. False when the server takes no more for now.
    pub fn call(&mut self, index: usize, text: &str) -> bool {
        let message = SendMessageRequest {
            author: "bench".into(),
            text: text.into(),
            ..SendMessageRequest::default()
        };
        let Ok(message) = message.write_to_bytes() else {
            return false;
        };
        let bytes = (message.len() + MESSAGE_HEAD) as i64;
        let server = &mut self.servers[index];
        if server.window < bytes {
            return false;
        }
        server.window -= bytes;
        server.calls.push_back((server.next_stream, Instant::now()));
        let headers = server.headers(wire::SEND_MESSAGE.name);
        let out = &mut self.connections[index].outgoing;
        frames::request(out, server.next_stream, &headers, &message);
        server.next_stream += 2;
        true
    }

    /// Sends the calls, with one system call for each server, waits at most so long for something to
    /// come in, and hands each event to `receive`.
    ///
    /// # Errors
    /// When the server ends a stream, or refuses a call.
    pub fn poll(&mut self, timeout: Duration, mut receive: impl FnMut(Event)) -> io::Result<()> {
        for caller in &mut self.connections[..self.servers.len()] {
            caller.flush()?;
        }
        let mut events = Vec::with_capacity(256);
        let timeout = Timespec::try_from(timeout).ok();
        // Interrupted: the process was stopped for a while.
        rustix::io::retry_on_intr(|| {
            epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref())
        })?;
        for event in events {
            self.receive(event.data.u64() as usize, &mut receive)?;
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, receive: &mut impl FnMut(Event)) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        let length = self.connections[index].line.read(&mut chunk)?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut incoming = std::mem::take(&mut self.connections[index].incoming);
        incoming.extend_from_slice(&chunk[..length]);
        let mut at = 0;
        while let Some(head) = frames::head(&incoming[at..]) {
            let start = at + FRAME_HEAD;
            let Some(payload) = incoming.get(start..start + head.length) else {
                break;
            };
            self.take(index, &head, payload, receive)?;
            at = start + head.length;
        }
        incoming.drain(..at);
        self.connections[index].incoming = incoming;
        self.connections[index].flush()
    }

    fn take(
        &mut self,
        index: usize,
        head: &Head,
        payload: &[u8],
        receive: &mut impl FnMut(Event),
    ) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let server = self.servers.get_mut(index);
        let is_reader = server.is_none();
        match head.kind {
            frames::DATA => {
                connection.message.extend_from_slice(payload);
                self.take_messages(index, head.stream, receive)?;
            }
            frames::SETTINGS | frames::PING if !head.is_ack() => {
                // Only a PING's content comes back.
                let echo = if head.kind == frames::PING {
                    payload
                } else {
                    &[]
                };
                frames::frame(&mut connection.outgoing, head.kind, frames::ACK, 0, echo);
            }
            frames::WINDOW_UPDATE if head.stream == 0 => {
                if let Some(server) = server {
                    server.window += i64::from(frames::window_update(payload));
                }
            }
            // The C core writes statuses uncompressed.
            frames::HEADERS if head.ends_stream() && is_reader => {
                let status = String::from_utf8_lossy(payload);
                return Err(ended(&status.replace(|c: char| !c.is_ascii_graphic(), " ")));
            }
            // An answer has come before its trailers; one that was refused consists
            // of trailers alone.
            frames::HEADERS
                if head.ends_stream()
                    && server.is_some_and(|it| it.take(head.stream).is_some()) =>
            {
                return Err(io::Error::other("the server refused a call"));
            }
            frames::RST_STREAM if is_reader => return Err(ended("RST_STREAM")),
            frames::GOAWAY => return Err(ended("GOAWAY")),
            _ => {}
        }
        Ok(())
    }

    fn take_messages(
        &mut self,
        index: usize,
        stream: u32,
        receive: &mut impl FnMut(Event),
    ) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.connections[index].message);
        let mut rest = bytes.as_slice();
        while let Some((message, behind)) = frames::message(rest) {
            rest = behind;
            if let Some(server) = self.servers.get_mut(index) {
                SendMessageResponse::parse_from_bytes(message).map_err(io::Error::other)?;
                let call = server.take(stream);
                let latency = call.map_or(Duration::ZERO, |since| since.elapsed());
                receive(Event::Answered { latency });
                continue;
            }
            let messages = match self.subscribe {
                true => SubscribeResponse::parse_from_bytes(message).map(|it| it.messages),
                false => ChatMessage::parse_from_bytes(message).map(|it| vec![it]),
            };
            for message in messages.map_err(io::Error::other)? {
                receive(Event::Message {
                    reader: index - self.servers.len(),
                    message: wire::message(message),
                });
            }
        }
        bytes.drain(..bytes.len() - rest.len());
        self.connections[index].message = bytes;
        Ok(())
    }
}

impl Peer {
    fn headers(&self, method: &str) -> Vec<u8> {
        let token = self.secured.as_ref().map(|it| it.authorization());
        frames::headers(&self.address, method, token)
    }

    /// Takes out the call on this stream: when it was opened.
    fn take(&mut self, stream: u32) -> Option<Instant> {
        let at = self.calls.iter().position(|call| call.0 == stream)?;
        self.calls.remove(at).map(|(_, since)| since)
    }
}

impl Line {
    /// With TLS a record at the most, so that nothing waits where epoll does not see it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }
}

impl Connection {
    fn flush(&mut self) -> io::Result<()> {
        if !self.outgoing.is_empty() {
            self.line.write_all(&self.outgoing)?;
            self.outgoing.clear();
        }
        Ok(())
    }
}

fn ended(how: &str) -> io::Error {
    io::Error::other(format!("the server ended a stream with {how}"))
}
