//! HTTP/2 frames by hand, for what no gRPC library lets one do: calls without a
//! message, windows of zero, floods. A thread takes in what comes, and answers
//! SETTINGS and PING. Sources: RFC 9113 (frames), RFC 7541 (headers).

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{SOON, eventually};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;

const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// SETTINGS: HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE.
const TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW: u16 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A window, and a frame's payload, as long as nobody says otherwise.
const FIRST_WINDOW: usize = 65_535;
const FRAME: usize = 16_384;

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    fn increment(&self) -> usize {
        let bytes = self.payload.first_chunk::<4>().copied();
        u32::from_be_bytes(bytes.unwrap_or_default()) as usize
    }

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
    /// Bytes that the peer takes on this connection.
    window: usize,
    early: VecDeque<Frame>,
}

impl Wire {
    pub fn open(address: &str) -> Self {
        Self::try_open(address).expect("a connection")
    }

    pub fn try_open(address: &str) -> std::io::Result<Self> {
        TcpStream::connect(address).map(|socket| Self::start(socket, 0x7fff_ffff))
    }

    /// Takes so many bytes of each answer, and never more.
    pub fn with_window(address: &str, window: u32) -> Self {
        Self::start(TcpStream::connect(address).expect("a connection"), window)
    }

    fn start(socket: TcpStream, window: u32) -> Self {
        let _ = socket.set_nodelay(true);
        let (sender, frames) = unbounded();
        let reading = socket.try_clone().unwrap();
        let socket = Arc::new(Mutex::new(socket));
        let answering = socket.clone();
        let mut wire = Self {
            socket,
            frames,
            out: PREFACE.to_vec(),
            window: FIRST_WINDOW,
            early: VecDeque::new(),
        };
        let setting = |id: u16, value: u32| {
            let (id, value) = (id.to_be_bytes(), value.to_be_bytes());
            [id.as_slice(), &value].concat()
        };
        let settings = [setting(TABLE_SIZE, 0), setting(INITIAL_WINDOW, window)].concat();
        wire.frame(SETTINGS, 0, 0, &settings);
        // The window of the connection, which limits nothing here.
        let more = 0x7fff_0000_u32.to_be_bytes();
        wire.frame(WINDOW_UPDATE, 0, 0, &more);
        // The next flush tells what this one does not.
        let _ = wire.try_flush();
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

    /// A whole call whose message may be larger than the windows: waits for the
    /// peer's updates of them.
    pub fn sent_with_windows(&mut self, stream: u32, path: &str, message: &[u8]) {
        self.call(stream, path);
        self.flush();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let data = [&[0], length.as_slice(), message].concat();
        let mut left = &*data;
        let mut of_stream = FIRST_WINDOW;
        while !left.is_empty() {
            let most = left.len().min(FRAME).min(of_stream).min(self.window);
            if most == 0 {
                let frame = self.next(SOON).expect("a larger window");
                if frame.kind == WINDOW_UPDATE && frame.stream == stream {
                    of_stream += frame.increment();
                }
                if frame.kind == HEADERS && frame.stream == stream {
                    // Refused already.
                    self.early.push_back(frame);
                    self.frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
                    return self.flush();
                }
                continue;
            }
            let (piece, rest) = left.split_at(most);
            let flags = if rest.is_empty() { END_STREAM } else { 0 };
            self.frame(DATA, flags, stream, piece);
            self.flush();
            (of_stream, self.window, left) = (of_stream - most, self.window - most, rest);
        }
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
    pub fn next(&mut self, within: Duration) -> Option<Frame> {
        let frame = self.frames.recv_timeout(within).ok()?;
        if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
            self.window += frame.increment();
        }
        Some(frame)
    }

    /// The status of the next call that ends within this time.
    pub fn ended(&mut self, within: Duration) -> Option<(u32, u32)> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let early = self.early.pop_front();
            let frame = early.or_else(|| self.next(left))?;
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
        literal(&mut block, name, value);
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

/// A server that ends every call with OK, at once and without a message.
pub struct OkToEverything {
    port: u16,
    calls: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl OkToEverything {
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let fake = Self {
            port,
            calls: Arc::default(),
            over: Arc::default(),
        };
        let (calls, over) = (fake.calls.clone(), fake.over.clone());
        thread::spawn(move || {
            let mut sockets = Vec::new();
            for socket in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                sockets.push(socket.try_clone().unwrap());
                let calls = calls.clone();
                thread::spawn(move || say_ok(socket, &calls));
            }
            for socket in sockets {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        });
        fake
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn wait_for_calls(&self, count: usize) {
        eventually(SOON, "calls", || self.calls.load(Ordering::SeqCst) >= count);
    }
}

impl Drop for OkToEverything {
    /// Nobody listens on the port any more.
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        eventually(SOON, "the port is free", || {
            TcpListener::bind(("127.0.0.1", self.port)).is_ok()
        });
    }
}

fn say_ok(mut socket: TcpStream, calls: &AtomicUsize) {
    let mut preface = [0; PREFACE.len()];
    if socket.read_exact(&mut preface).is_err() {
        return;
    }
    let (sender, frames) = unbounded();
    let answering = Arc::new(Mutex::new(socket.try_clone().unwrap()));
    let mut out = Vec::new();
    frame(&mut out, SETTINGS, 0, 0, &[]);
    let taking = answering.clone();
    let _ = answering.lock().unwrap().write_all(&out);
    thread::spawn(move || take_in(socket, &taking, &sender));
    // ":status: 200" is in the static table.
    let mut block = vec![0x88];
    for (name, value) in [("content-type", "application/grpc"), ("grpc-status", "0")] {
        literal(&mut block, name, value);
    }
    for call in frames.iter().filter(|frame| frame.kind == HEADERS) {
        calls.fetch_add(1, Ordering::SeqCst);
        let mut out = Vec::new();
        frame(
            &mut out,
            HEADERS,
            END_HEADERS | END_STREAM,
            call.stream,
            &block,
        );
        let _ = answering.lock().unwrap().write_all(&out);
    }
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        assert!(text.len() < 127, "a length of one byte");
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text.as_bytes());
    }
}
