//! A client that costs next to nothing: many ReadMessages streams, each on a TCP
//! connection of its own, and many SendMessage calls on others, all on one
//! thread, as plain HTTP/2 frames. A gRPC library here would take more CPU time
//! than the server that is measured, and the load would set the pace.
//!
//! Sources: RFC 9113 (frames), RFC 7541 (headers as literals and from the static
//! table), <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

pub mod frames;

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use protobuf::Message as _;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::chat::client::Message;
use crate::chat::wire;
use crate::chat::wire::{ChatMessage, SendMessageResponse};
use crate::grpc::subscription;
use frames::{FRAME_HEAD, Head, MESSAGE_HEAD};

/// What has come in.
pub enum Event {
    /// A reader's subscription is live.
    Acknowledged,
    Message {
        /// The number that [`Wire::read`] gave.
        reader: usize,
        message: Message,
    },
    /// A SendMessage call was answered after so long.
    Answered { latency: Duration },
}

/// Open connections, served by whoever calls [`Wire::poll`].
pub struct Wire {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
}

struct Connection {
    socket: TcpStream,
    role: Role,
    /// Bytes of frames that are not whole yet.
    incoming: Vec<u8>,
    /// Bytes of a message that is not whole yet. Answers to calls are so short
    /// that no server spreads one over frames.
    message: Vec<u8>,
    outgoing: Vec<u8>,
    address: String,
}

enum Role {
    Reader(usize),
    Caller(Calls),
}

/// The calls of one connection.
struct Calls {
    next_stream: u32,
    /// Number of the stream and when it was opened; answers come in any order.
    open: VecDeque<(u32, Instant)>,
    /// Bytes that the server still takes on this connection.
    window: i64,
}

/// The number of a connection that makes calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller(usize);

impl Wire {
    /// # Errors
    /// When the kernel has no epoll instance left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
        })
    }

    /// Opens so many ReadMessages streams, one after the other, and waits until
    /// each has been acknowledged, or no acknowledgement has come for `settle`:
    /// not every server sends any. Their numbers count from 0.
    ///
    /// # Errors
    /// When a connection cannot be made, or the server ends a stream.
    pub fn read(&mut self, address: &str, count: usize, settle: Duration) -> io::Result<()> {
        let mut acknowledged = 0;
        for reader in 0..count {
            let mut connection = Connection::open(address, Role::Reader(reader))?;
            let headers = frames::headers(address, wire::READ_MESSAGES.name, true);
            frames::request(&mut connection.outgoing, 1, &headers, &[]);
            connection.flush()?;
            self.add(connection)?;
            // The server's pings want an answer while others are still opened.
            acknowledged += self.acknowledgements(Duration::ZERO)?;
        }
        let mut last = Instant::now();
        while acknowledged < count && last.elapsed() < settle {
            let more = self.acknowledgements(Duration::from_millis(10))?;
            if more > 0 {
                last = Instant::now();
            }
            acknowledged += more;
        }
        Ok(())
    }

    fn acknowledgements(&mut self, timeout: Duration) -> io::Result<usize> {
        let mut count = 0;
        self.poll(timeout, |event| {
            count += usize::from(matches!(event, Event::Acknowledged));
        })?;
        Ok(count)
    }

    /// Opens a connection for SendMessage calls.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn caller(&mut self, address: &str) -> io::Result<Caller> {
        let calls = Calls {
            next_stream: 1,
            open: VecDeque::new(),
            window: i64::from(frames::FIRST_WINDOW),
        };
        let connection = Connection::open(address, Role::Caller(calls))?;
        self.add(connection)?;
        Ok(Caller(self.connections.len() - 1))
    }

    fn add(&mut self, connection: Connection) -> io::Result<()> {
        let data = epoll::EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.epoll, &connection.socket, data, epoll::EventFlags::IN)?;
        self.connections.push(connection);
        Ok(())
    }

    /// Opens one more call with this encoded request, to be sent by
    /// [`Wire::flush`]. False when the server takes no more for now.
    pub fn call(&mut self, caller: Caller, request: &[u8]) -> bool {
        let Some(connection) = self.connections.get_mut(caller.0) else {
            return false;
        };
        let Role::Caller(calls) = &mut connection.role else {
            return false;
        };
        let bytes = (request.len() + MESSAGE_HEAD) as i64;
        if calls.window < bytes {
            return false;
        }
        calls.window -= bytes;
        calls.open.push_back((calls.next_stream, Instant::now()));
        let headers = frames::headers(&connection.address, wire::SEND_MESSAGE.name, false);
        frames::request(
            &mut connection.outgoing,
            calls.next_stream,
            &headers,
            request,
        );
        calls.next_stream += 2;
        true
    }

    /// Sends what [`Wire::call`] has prepared, with one system call.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn flush(&mut self, caller: Caller) -> io::Result<()> {
        let connection = self.connections.get_mut(caller.0);
        connection.map_or(Ok(()), Connection::flush)
    }

    /// Waits for something to come in, at most so long, and hands each event to
    /// `receive`.
    ///
    /// # Errors
    /// When the server ends a stream, or refuses a call.
    pub fn poll(&mut self, timeout: Duration, mut receive: impl FnMut(Event)) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        let timeout = Timespec::try_from(timeout).ok();
        // Interrupted: the process was stopped for a while.
        rustix::io::retry_on_intr(|| {
            epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref())
        })?;
        for event in events {
            let index = event.data.u64() as usize;
            if let Some(connection) = self.connections.get_mut(index) {
                connection.receive(&mut receive)?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn open(address: &str, role: Role) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            role,
            incoming: Vec::new(),
            message: Vec::new(),
            outgoing: frames::hello(),
            address: address.to_owned(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    fn receive(&mut self, receive: &mut impl FnMut(Event)) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        let length = self.socket.read(&mut chunk)?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut incoming = std::mem::take(&mut self.incoming);
        incoming.extend_from_slice(&chunk[..length]);
        let mut at = 0;
        while let Some(head) = frames::head(&incoming[at..]) {
            let start = at + FRAME_HEAD;
            let Some(payload) = incoming.get(start..start + head.length) else {
                break;
            };
            self.take(&head, payload, receive)?;
            at = start + head.length;
        }
        incoming.drain(..at);
        self.incoming = incoming;
        if !self.outgoing.is_empty() {
            self.flush()?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        head: &Head,
        payload: &[u8],
        receive: &mut impl FnMut(Event),
    ) -> io::Result<()> {
        match head.kind {
            frames::DATA => {
                self.message.extend_from_slice(payload);
                self.take_messages(head.stream, receive)?;
            }
            frames::SETTINGS if !head.is_ack() => {
                frames::frame(&mut self.outgoing, frames::SETTINGS, frames::ACK, 0, &[]);
            }
            frames::PING if !head.is_ack() => {
                frames::frame(&mut self.outgoing, frames::PING, frames::ACK, 0, payload);
            }
            frames::WINDOW_UPDATE if head.stream == 0 => {
                if let Role::Caller(calls) = &mut self.role {
                    calls.window += i64::from(frames::window_update(payload));
                }
            }
            frames::HEADERS if head.ends_stream() => match &self.role {
                Role::Reader(_) => return Err(ended(&readable(payload))),
                // An answer has come before its trailers; one that was refused
                // consists of trailers alone.
                Role::Caller(calls) if calls.open.iter().any(|open| open.0 == head.stream) => {
                    return Err(io::Error::other("the server refused a call"));
                }
                Role::Caller(_) => {}
            },
            frames::RST_STREAM if matches!(self.role, Role::Reader(_)) => {
                return Err(ended("RST_STREAM"));
            }
            frames::GOAWAY => return Err(ended("GOAWAY")),
            _ => {}
        }
        Ok(())
    }

    fn take_messages(&mut self, stream: u32, receive: &mut impl FnMut(Event)) -> io::Result<()> {
        let mut at = 0;
        while let Some((head, rest)) = self.message[at..].split_first_chunk::<MESSAGE_HEAD>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(message) = rest.get(..length) else {
                break;
            };
            receive(match &mut self.role {
                Role::Reader(reader) => {
                    let message = ChatMessage::parse_from_bytes(message);
                    let message = message.map_err(io::Error::other)?;
                    if subscription::is_acknowledgement(&message) {
                        Event::Acknowledged
                    } else {
                        Event::Message {
                            reader: *reader,
                            message: wire::message(message),
                        }
                    }
                }
                Role::Caller(calls) => {
                    SendMessageResponse::parse_from_bytes(message).map_err(io::Error::other)?;
                    let open = calls.open.iter().position(|open| open.0 == stream);
                    let since = open.and_then(|index| calls.open.remove(index));
                    Event::Answered {
                        latency: since.map_or(Duration::ZERO, |(_, since)| since.elapsed()),
                    }
                }
            });
            at += MESSAGE_HEAD + length;
        }
        self.message.drain(..at);
        Ok(())
    }
}

/// What can be read of a header block: the C core writes statuses uncompressed.
fn readable(block: &[u8]) -> String {
    let text = String::from_utf8_lossy(block);
    let text: String = text
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .collect();
    format!("the status {text}")
}

fn ended(how: &str) -> io::Error {
    io::Error::other(format!("the server ended a stream with {how}"))
}
