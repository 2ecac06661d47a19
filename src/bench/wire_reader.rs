//! Readers that cost next to nothing: many ReadMessages streams, each on a TCP
//! connection of its own, on one thread, as plain HTTP/2 frames. A gRPC library
//! here would take more CPU time than the server that is measured, and the load
//! would set the pace.
//!
//! Sources: RFC 9113 (frames), RFC 7541 (headers as literals and from the static
//! table), <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use protobuf::Message as _;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::domain::chat::Message;
use crate::wire::chat;
use crate::wire::generated::messenger::ChatMessage;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const FRAME_HEAD: usize = 9;
const MESSAGE_HEAD: usize = 5;

/// The largest window that HTTP/2 knows: 2 GiB for a stream and a connection,
/// which no measurement here reads through.
const WINDOW: u32 = 0x7fff_ffff;

/// Open streams, read by whoever calls [`WireReaders::poll`].
pub struct WireReaders {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
}

struct Connection {
    socket: TcpStream,
    /// Bytes of frames that are not whole yet.
    frames: Vec<u8>,
    /// Bytes of messages that are not whole yet.
    messages: Vec<u8>,
}

impl WireReaders {
    /// Opens so many streams, one after the other, and waits until each has been
    /// acknowledged, or for `settle` in all if the server does not acknowledge.
    ///
    /// # Errors
    /// When a connection cannot be made, or the server ends a stream.
    pub fn open(address: &str, count: usize, settle: Duration) -> io::Result<Self> {
        let mut readers = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(count),
        };
        let mut acknowledged = 0;
        for index in 0..count {
            let connection = Connection::open(address)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(
                &readers.epoll,
                &connection.socket,
                data,
                epoll::EventFlags::IN,
            )?;
            readers.connections.push(connection);
            // The server's pings want an answer while others are still opened.
            readers.poll(Duration::ZERO, |_, message| {
                acknowledged += usize::from(message.is_none());
            })?;
        }
        let deadline = Instant::now() + settle;
        while acknowledged < count && Instant::now() < deadline {
            readers.poll(Duration::from_millis(50), |_, message| {
                acknowledged += usize::from(message.is_none());
            })?;
        }
        Ok(readers)
    }

    /// Waits for messages, at most so long, and hands each to `receive` with the
    /// number of its stream; `None` is an acknowledgement.
    ///
    /// # Errors
    /// When a stream ends.
    pub fn poll(
        &mut self,
        timeout: Duration,
        mut receive: impl FnMut(usize, Option<Message>),
    ) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        let timeout = Timespec::try_from(timeout).ok();
        epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref())?;
        for event in events {
            let index = event.data.u64() as usize;
            if let Some(connection) = self.connections.get_mut(index) {
                connection.read(&mut |message| receive(index, message))?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut hello = PREFACE.to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let setting = [&4u16.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
        frame(&mut hello, SETTINGS, 0, 0, &setting);
        frame(
            &mut hello,
            WINDOW_UPDATE,
            0,
            0,
            &(WINDOW - 65_535).to_be_bytes(),
        );
        frame(&mut hello, HEADERS, END_HEADERS, 1, &headers(address));
        frame(&mut hello, DATA, END_STREAM, 1, &[0; MESSAGE_HEAD]);
        socket.write_all(&hello)?;
        Ok(Self {
            socket,
            frames: Vec::new(),
            messages: Vec::new(),
        })
    }

    fn read(&mut self, receive: &mut impl FnMut(Option<Message>)) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        let length = self.socket.read(&mut chunk)?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.frames.extend_from_slice(&chunk[..length]);
        let mut at = 0;
        while let Some(head) = self.frames.get(at..at + FRAME_HEAD) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let start = at + FRAME_HEAD;
            let Some(payload) = self.frames.get(start..start + length) else {
                break;
            };
            match kind {
                DATA => {
                    self.messages.extend_from_slice(payload);
                    take_messages(&mut self.messages, receive)?;
                }
                SETTINGS if flags & ACK == 0 => answer(&mut self.socket, SETTINGS, &[])?,
                PING if flags & ACK == 0 => answer(&mut self.socket, PING, payload)?,
                HEADERS if flags & END_STREAM != 0 => return Err(ended("trailers")),
                RST_STREAM => return Err(ended("RST_STREAM")),
                GOAWAY => return Err(ended("GOAWAY")),
                _ => {}
            }
            at = start + length;
        }
        self.frames.drain(..at);
        Ok(())
    }
}

fn take_messages(bytes: &mut Vec<u8>, receive: &mut impl FnMut(Option<Message>)) -> io::Result<()> {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + MESSAGE_HEAD) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let start = at + MESSAGE_HEAD;
        let Some(message) = bytes.get(start..start + length) else {
            break;
        };
        let message = ChatMessage::parse_from_bytes(message).map_err(io::Error::other)?;
        receive(chat::message(message));
        at = start + length;
    }
    bytes.drain(..at);
    Ok(())
}

fn answer(socket: &mut TcpStream, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame(&mut bytes, kind, ACK, 0, payload);
    socket.write_all(&bytes)
}

fn ended(how: &str) -> io::Error {
    io::Error::other(format!("the server ended a stream with {how}"))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn headers(authority: &str) -> Vec<u8> {
    // ":method: POST" and ":scheme: http" are whole in the static table, of
    // ":authority", ":path" and "content-type" only the names.
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x01], authority);
    literal(&[0x04], chat::READ_MESSAGES.name);
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    literal(b"\x00\x0dmessenger-ack", "1");
    block
}
