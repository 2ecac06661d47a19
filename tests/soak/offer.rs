//! Clients that offer SendMessage calls over plain HTTP/2, all on one thread: each
//! when the one before was answered, or at a rate, whatever becomes of them. Their
//! latency counts from when they were due, not from when the transport took them.
//! Sources: RFC 9113; `messenger::compare::load::wire`, which has no refusals.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use messenger::compare::load::wire::frames;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::support::h2::{self, END_HEADERS, END_STREAM, Frame};

const SEND: &str = "/mes_grpc.MessengerServer/SendMessage";

/// When a client gives up, as the bridge does; the server is told so too.
const DEADLINE: Duration = Duration::from_secs(5);

/// SETTINGS_HEADER_TABLE_SIZE, SETTINGS_MAX_CONCURRENT_STREAMS.
const TABLE_SIZE: u16 = 1;
const CONCURRENT: u16 = 3;

/// Bytes that wait for a socket, above which no call is added.
const UNSENT: usize = 64 * 1024;

#[derive(Clone, Copy)]
pub enum Load {
    /// Each connection has one call under way.
    InTurn,
    /// So many a second, over all connections.
    Rate(f64),
}

/// What became of the calls, by gRPC status, with their latencies. A call that was
/// refused by HTTP/2 alone has a status from [`RESET`] on.
#[derive(Default)]
pub struct Outcome {
    pub ended: BTreeMap<u32, Vec<Duration>>,
    /// When those were answered that were not refused, since the begin.
    pub answered: Vec<Duration>,
    /// Given up after [`DEADLINE`].
    pub late: usize,
    /// On connections that the server ended.
    pub lost: usize,
    pub offered: usize,
}

pub const RESET: u32 = 1000;

pub struct Clients {
    address: String,
    epoll: OwnedFd,
    lines: Vec<Line>,
    headers: Vec<u8>,
}

struct Line {
    socket: TcpStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    next_stream: u32,
    window: i64,
    most: usize,
    /// Under way, the oldest first: their streams, and when they were due.
    open: VecDeque<(u32, Instant)>,
    /// Due, but not sent yet.
    waiting: VecDeque<Instant>,
    /// The server takes no more calls on it: GOAWAY.
    is_leaving: bool,
    /// The server has ended the connection.
    is_lost: bool,
}

impl Clients {
    pub fn connect(address: &str, count: usize) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let lines = (0..count).map(|index| Line::connect(address, &epoll, index));
        let lines = lines.collect();
        let deadline = format!("{}S", DEADLINE.as_secs());
        Self {
            address: address.into(),
            lines,
            epoll,
            headers: h2::headers(SEND, &[("grpc-timeout", &deadline)]),
        }
    }

    /// Offers calls with this message for so long. Those that are under way then go on
    /// in the next run.
    pub fn run(&mut self, load: Load, time: Duration, message: &[u8]) -> Outcome {
        let (mut outcome, begun) = (Outcome::default(), Instant::now());
        while begun.elapsed() < time {
            match load {
                Load::InTurn => {
                    for line in &mut self.lines {
                        if line.open.is_empty() && line.waiting.is_empty() {
                            line.waiting.push_back(Instant::now());
                            outcome.offered += 1;
                        }
                    }
                }
                Load::Rate(rate) => {
                    let due = (begun.elapsed().as_secs_f64() * rate) as usize;
                    for number in outcome.offered..due {
                        let at = begun + Duration::from_secs_f64(number as f64 / rate);
                        let line = number % self.lines.len();
                        self.lines[line].waiting.push_back(at);
                    }
                    outcome.offered = due;
                }
            }
            for (index, line) in self.lines.iter_mut().enumerate() {
                outcome.late += line.give_up();
                line.call(&self.headers, message);
                if line.flush().is_err() {
                    line.is_lost = true;
                }
                if line.is_lost || line.is_leaving && line.open.is_empty() {
                    outcome.lost += line.open.len();
                    let waiting = std::mem::take(&mut line.waiting);
                    *line = Line::connect(&self.address, &self.epoll, index);
                    line.waiting = waiting;
                }
            }
            self.receive(begun, &mut outcome);
        }
        outcome
    }

    fn receive(&mut self, begun: Instant, outcome: &mut Outcome) {
        let mut events = Vec::with_capacity(256);
        let wait = Timespec::try_from(Duration::from_millis(1)).ok();
        let waited = rustix::io::retry_on_intr(|| {
            epoll::wait(&self.epoll, spare_capacity(&mut events), wait.as_ref())
        });
        waited.expect("an epoll");
        for event in events {
            let line = &mut self.lines[event.data.u64() as usize];
            let received = line.receive(|status, due| {
                let ended = outcome.ended.entry(status).or_default();
                ended.push(due.elapsed());
                if status == 0 {
                    outcome.answered.push(begun.elapsed());
                }
            });
            line.is_lost |= received.is_err();
        }
    }
}

/// The peer may keep no table of headers, so each status is written out.
fn hello() -> Vec<u8> {
    let mut out = frames::hello();
    let setting = [&TABLE_SIZE.to_be_bytes()[..], &[0; 4]].concat();
    frames::frame(&mut out, frames::SETTINGS, 0, 0, &setting);
    out
}

/// The server has ended a connection.
struct Lost;

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Line {
    fn connect(address: &str, epoll: &OwnedFd, index: usize) -> Self {
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_nodelay(true).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(epoll, &socket, data, epoll::EventFlags::IN).expect("an epoll");
        Self {
            socket,
            incoming: Vec::new(),
            outgoing: hello(),
            next_stream: 1,
            window: i64::from(frames::FIRST_WINDOW),
            most: usize::MAX,
            open: VecDeque::new(),
            waiting: VecDeque::new(),
            is_leaving: false,
            is_lost: false,
        }
    }

    /// Sends what waits, as far as the peer allows.
    fn call(&mut self, headers: &[u8], message: &[u8]) {
        let bytes = (message.len() + frames::MESSAGE_HEAD) as i64;
        while let Some(due) = self.waiting.front().copied() {
            let room = self.open.len() < self.most && self.outgoing.len() < UNSENT;
            let room = room && !self.is_leaving;
            if !room || self.window < bytes {
                return;
            }
            self.waiting.pop_front();
            self.window -= bytes;
            self.open.push_back((self.next_stream, due));
            frames::request(&mut self.outgoing, self.next_stream, headers, message);
            self.next_stream += 2;
        }
    }

    /// Cancels the calls whose time is over; how many they are.
    fn give_up(&mut self) -> usize {
        let over = |due: &Instant| due.elapsed() > DEADLINE;
        let mut count = 0;
        while self.waiting.front().is_some_and(over) {
            self.waiting.pop_front();
            count += 1;
        }
        while let Some((stream, due)) = self.open.front().copied()
            && over(&due)
        {
            self.open.pop_front();
            // CANCEL.
            let code = 8_u32.to_be_bytes();
            frames::frame(&mut self.outgoing, frames::RST_STREAM, 0, stream, &code);
            count += 1;
        }
        count
    }

    fn flush(&mut self) -> Result<(), Lost> {
        while !self.outgoing.is_empty() {
            match self.socket.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut ended: impl FnMut(u32, Instant)) -> Result<(), Lost> {
        let mut chunk = [0; 64 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Err(Lost),
            Ok(count) => self.incoming.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = &*incoming;
        while let Some(head) = frames::head(rest)
            && let Some(payload) = rest[frames::FRAME_HEAD..].get(..head.length)
        {
            if let Some(status) = self.take(&head, payload)
                && let Some(at) = self.open.iter().position(|call| call.0 == head.stream)
                && let Some((_, due)) = self.open.remove(at)
            {
                ended(status, due);
            }
            rest = &rest[frames::FRAME_HEAD + head.length..];
        }
        self.incoming = rest.to_vec();
        Ok(())
    }

    /// The status of the call that ends with this frame.
    fn take(&mut self, head: &frames::Head, payload: &[u8]) -> Option<u32> {
        match head.kind {
            frames::HEADERS if head.ends_stream() => {
                let frame = Frame {
                    kind: head.kind,
                    flags: END_HEADERS | END_STREAM,
                    stream: head.stream,
                    payload: payload.to_vec(),
                };
                frame.status()
            }
            frames::RST_STREAM => Some(RESET + frames::window_update(payload)),
            frames::WINDOW_UPDATE if head.stream == 0 => {
                self.window += i64::from(frames::window_update(payload));
                None
            }
            frames::SETTINGS if !head.is_ack() => {
                for setting in payload.as_chunks::<6>().0 {
                    if setting[..2] == CONCURRENT.to_be_bytes() {
                        self.most = frames::window_update(&setting[2..]) as usize;
                    }
                }
                frames::frame(&mut self.outgoing, frames::SETTINGS, frames::ACK, 0, &[]);
                None
            }
            frames::GOAWAY => {
                self.is_leaving = true;
                None
            }
            frames::PING if !head.is_ack() => {
                frames::frame(&mut self.outgoing, frames::PING, frames::ACK, 0, payload);
                None
            }
            _ => None,
        }
    }
}
