//! HTTP/2 frames by hand, for what no gRPC library lets one do: calls without a
//! message, windows of zero, floods. A thread takes in what comes, and answers
//! SETTINGS and PING. Sources: RFC 9113 (frames), RFC 7541 (headers).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// SETTINGS: HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE.
const TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW: u16 = 4;

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The status of a call, if these are its trailers. The peer may keep no
    /// table of headers, so each is written out.
    pub fn status(&self) -> Option<u32> {
        let name = b"grpc-status";
        let mut places = self.payload.windows(name.len());
        let place = places.position(|bytes| bytes == name)?;
        let value = &self.payload[place + name.len()..];
        let digits = value.get(1..1 + usize::from(*value.first()?))?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// One connection.
pub struct Wire {
    /// Locked while frames are written, by the thread that answers too.
    socket: Arc<Mutex<TcpStream>>,
    frames: Receiver<Frame>,
    out: Vec<u8>,
}

impl Wire {
    pub fn open(address: &str) -> Self {
        Self::with_window(address, 0x7fff_ffff)
    }

    /// Takes so many bytes of each answer, and never more.
    pub fn with_window(address: &str, window: u32) -> Self {
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_nodelay(true).unwrap();
        let (sender, frames) = unbounded();
        let reading = socket.try_clone().unwrap();
        let socket = Arc::new(Mutex::new(socket));
        let answering = socket.clone();
        let mut wire = Self {
            socket,
            frames,
            out: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        };
        let setting = |id: u16, value: u32| {
            let (id, value) = (id.to_be_bytes(), value.to_be_bytes());
            [id.as_slice(), &value].concat()
        };
        let settings = [setting(TABLE_SIZE, 0), setting(INITIAL_WINDOW, window)].concat();
        wire.frame(SETTINGS, 0, 0, &settings);
        wire.flush();
        // Only now: nothing may go before the preface.
        thread::spawn(move || take_in(reading, &answering, &sender));
        wire
    }

    /// Adds a frame to what [`Wire::flush`] sends.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        frame(&mut self.out, kind, flags, stream, payload);
    }

    /// Opens a call of this method, without a message.
    pub fn call(&mut self, stream: u32, path: &str) {
        self.frame(HEADERS, END_HEADERS, stream, &headers(path, &[]));
    }

    /// A whole call with this message.
    pub fn whole(&mut self, stream: u32, path: &str, message: &[u8]) {
        self.call(stream, path);
        self.message(stream, message, END_STREAM);
    }

    pub fn message(&mut self, stream: u32, message: &[u8], flags: u8) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let data = [&[0], length.as_slice(), message].concat();
        self.frame(DATA, flags, stream, &data);
    }

    pub fn flush(&mut self) {
        self.try_flush().expect("a peer that takes it");
    }

    /// As [`Wire::flush`], towards a peer that may have closed the connection.
    pub fn try_flush(&mut self) -> std::io::Result<()> {
        let sent = self.socket.lock().unwrap().write_all(&self.out);
        self.out.clear();
        sent
    }

    /// The next frame that comes within this time; `None` also at the end.
    pub fn next(&self, within: Duration) -> Option<Frame> {
        self.frames.recv_timeout(within).ok()
    }

    /// The status of the next call that ends within this time.
    pub fn ended(&self, within: Duration) -> Option<(u32, u32)> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = self.next(left)?;
            if frame.kind == HEADERS
                && let Some(status) = frame.status()
            {
                return Some((frame.stream, status));
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self
            .socket
            .lock()
            .unwrap()
            .shutdown(std::net::Shutdown::Both);
    }
}

/// A header block, everything written out.
pub fn headers(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // ":method: POST" and ":scheme: http" are in the static table.
    let mut block = vec![0x83, 0x86];
    let ours = [
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in ours.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "a length of one byte");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn take_in(mut socket: TcpStream, answering: &Mutex<TcpStream>, frames: &Sender<Frame>) {
    loop {
        let mut head = [0; 9];
        if socket.read_exact(&mut head).is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if socket.read_exact(&mut payload).is_err() {
            return;
        }
        let frame_in = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            payload,
        };
        if matches!(frame_in.kind, SETTINGS | PING) && frame_in.flags & ACK == 0 {
            let echo: &[u8] = match frame_in.kind {
                PING => &frame_in.payload,
                _ => &[],
            };
            let mut answer = Vec::new();
            frame(&mut answer, frame_in.kind, ACK, 0, echo);
            let _ = answering.lock().unwrap().write_all(&answer);
        }
        // A test that has seen enough drops its end.
        let _ = frames.send(frame_in);
    }
}
