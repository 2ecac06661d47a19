//! The front's side of the lanes: private connections, one per lane, each of
//! which carries one request at a time.
//!
//! Owns those connections, the queue for them and the numbers of requests. It
//! must not know the client's socket. A connection's thread runs it.
//!
//! tiny_http's pool counts idle threads, not queued tasks, so connections that
//! come in a burst are never served. Here they are opened one after another,
//! each confirmed by an answer before the next, and stay open for good: an
//! answer that comes too late is waited for and thrown away, not cut off.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::answer::{Extent, measure};
use super::head::Head;
use super::limits::Limits;
use super::receipt::{Attached, NUMBER_HEADER, Receipts, WAITED_HEADER};
use super::refusal::Refusal;
use crate::sync::lock;
use crate::trace;

/// The number of a request that only asks whether the lane answers.
pub(super) const PROBE: u64 = 0;

/// How long a lane may take to answer the probe.
const PROBE_TIME: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 4 * 1024;
const BODY_READ_BYTES: usize = 64 * 1024;

/// So many lanes are kept for the methods and paths for which this is true.
pub(super) type Kept = (usize, fn(&str, &str) -> bool);

/// One private connection, owned by the thread that uses it.
struct Lane {
    index: usize,
    pool: usize,
    /// `None` once it broke. Its next user opens it again.
    stream: Option<Arc<UnixStream>>,
    /// An answer that came too late, as far as it was read.
    late: Option<Late>,
}

/// Puts its lane back, whatever happens: a lost lane would be lost for good.
struct Taken<'a> {
    exchange: &'a Exchange,
    lane: Option<Lane>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            // There is room for every lane.
            let _ = self.exchange.pools[lane.pool].0.try_send(lane);
        }
    }
}

struct Late {
    bytes: Vec<u8>,
    to_head: bool,
}

/// A lane's answer. An attached receipt must be settled once its fate is known.
pub(super) struct Answered {
    pub(super) extent: Extent,
    pub(super) attached: Attached,
}

/// All private connections.
pub(super) struct Exchange {
    socket: PathBuf,
    limits: Limits,
    receipts: Arc<Receipts>,
    next_number: AtomicU64,
    /// The free lanes: those for all paths, and those that are kept for quick ones.
    pools: [(Sender<Lane>, Receiver<Lane>); 2],
    quick: fn(&str, &str) -> bool,
    /// Held while a lane is opened, so that this happens one at a time.
    opening: Mutex<()>,
    /// The open streams by lane, to cut them at shutdown. Empty after that.
    open: Mutex<Vec<Option<Arc<UnixStream>>>>,
    /// Dropped at shutdown, which wakes everyone who waits for a lane.
    closing: Mutex<Option<Sender<()>>>,
    closed: Receiver<()>,
}

impl Exchange {
    /// Opens `lanes` connections to the tiny_http server at `socket`, some of them
    /// `kept`.
    pub(super) fn open(
        socket: PathBuf,
        lanes: usize,
        (kept, quick): Kept,
        limits: &Limits,
        receipts: Arc<Receipts>,
    ) -> io::Result<Exchange> {
        let (closing, closed) = bounded(0);
        let exchange = Exchange {
            socket,
            limits: limits.clone(),
            receipts,
            next_number: AtomicU64::new(PROBE + 1),
            pools: [bounded(lanes), bounded(lanes)],
            quick,
            opening: Mutex::new(()),
            open: Mutex::new(vec![None; lanes]),
            closing: Mutex::new(Some(closing)),
            closed,
        };
        for index in 0..lanes {
            let stream = Some(exchange.connect(index)?);
            let pool = usize::from(index < kept);
            let late = None;
            let _ = exchange.pools[pool].0.try_send(Lane {
                index,
                pool,
                stream,
                late,
            });
        }
        Ok(exchange)
    }

    /// Passes one request to a free lane and reads the answer into `answer`.
    /// `out` is scratch space. A client that vanishes while its request waits
    /// here is not noticed: the request may still be run, as if the client had
    /// vanished a moment later.
    pub(super) fn run(
        &self,
        head: &Head,
        waited: bool,
        body: &[u8],
        out: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<Answered, Refusal> {
        let mut taken = Taken {
            exchange: self,
            lane: Some(self.take(head)?),
        };
        match &mut taken.lane {
            Some(lane) => self.run_in(lane, (head, waited), body, out, answer),
            None => Err(busy()),
        }
    }

    /// Cuts all lanes. Requests in them or waiting for one get 503.
    pub(super) fn close(&self) {
        *lock(&self.closing) = None;
        let mut open = lock(&self.open);
        for stream in open.drain(..).flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn take(&self, head: &Head) -> Result<Lane, Refusal> {
        let path = head.target.split('?').next().unwrap_or_default();
        let (_, free) = &self.pools[usize::from((self.quick)(&head.method, path))];
        if let Ok(lane) = free.try_recv() {
            return Ok(lane);
        }
        let _span = trace::span("wait for the lane");
        let list = self.limits.waiting.as_ref();
        let thread = thread::current();
        let thread = thread.name().unwrap_or("?");
        let entry = list.map(|_| format!("{} {path}, on {thread}", head.method));
        let entry = entry.unwrap_or_default();
        list.inspect(|list| lock(list).push(entry.clone()));
        // crossbeam wakes those who wait in turn.
        let taken = select! {
            recv(free) -> lane => lane.map_err(|_| shutting_down()),
            recv(self.closed) -> _ => Err(shutting_down()),
            default(self.limits.lane_wait) => Err(busy()),
        };
        list.inspect(|list| lock(list).retain(|it| *it != entry));
        taken
    }

    fn run_in(
        &self,
        lane: &mut Lane,
        (head, waited): (&Head, bool),
        body: &[u8],
        out: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<Answered, Refusal> {
        let stream = match lane.stream.take() {
            Some(stream) => stream,
            None => self.connect(lane.index).map_err(|error| {
                tracing::error!(%error, "cannot connect to a lane");
                busy()
            })?,
        };
        if let Some(mut late) = lane.late.take() {
            let _ = stream.set_read_timeout(Some(self.limits.lane_wait));
            if let Err(error) = read_answer(&stream, &mut late.bytes, late.to_head) {
                if is_timeout(&error) {
                    (lane.stream, lane.late) = (Some(stream), Some(late));
                }
                return Err(busy());
            }
            let _ = stream.set_read_timeout(Some(self.limits.answer_time));
        }
        let _span = trace::span("in the lane");
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        out.clear();
        encode(number, head, waited, body.len(), out);
        let mut rest = body;
        if body.len() <= READ_BYTES {
            out.extend_from_slice(std::mem::take(&mut rest));
        }
        let to_head = head.method == "HEAD";
        answer.clear();
        self.receipts.expect(number);
        let sent = (&*stream).write_all(out);
        let sent = sent.and_then(|()| (&*stream).write_all(rest));
        let read = match sent {
            Ok(()) => read_answer(&stream, answer, to_head),
            // Not even a timeout is harmless in the middle of a request.
            Err(error) => Err(io::Error::new(ErrorKind::BrokenPipe, error)),
        };
        let attached = self.receipts.take(number);
        match read {
            Ok(extent) => {
                lane.stream = Some(stream);
                Ok(Answered { extent, attached })
            }
            // From here on what was attached is dropped: the answer counts as lost.
            Err(error) if is_timeout(&error) => {
                let bytes = std::mem::take(answer);
                (lane.stream, lane.late) = (Some(stream), Some(Late { bytes, to_head }));
                Err(Refusal::new(504, "the request was not answered in time"))
            }
            Err(error) => {
                let closed = lock(&self.closing).is_none();
                if !closed {
                    tracing::error!(%error, "the connection to a lane broke");
                }
                Err(Refusal::new(
                    if closed { 503 } else { 502 },
                    "the request may or may not have been handled",
                ))
            }
        }
    }

    fn connect(&self, index: usize) -> io::Result<Arc<UnixStream>> {
        let _one_at_a_time = lock(&self.opening);
        let stream = Arc::new(UnixStream::connect(&self.socket)?);
        {
            let mut open = lock(&self.open);
            let place = open.get_mut(index).ok_or(ErrorKind::NotConnected)?;
            *place = Some(Arc::clone(&stream));
        }
        stream.set_write_timeout(Some(self.limits.answer_time))?;
        stream.set_read_timeout(Some(PROBE_TIME))?;
        let probe = format!("GET / HTTP/1.1\r\n{NUMBER_HEADER}: {PROBE}\r\n\r\n");
        (&*stream).write_all(probe.as_bytes())?;
        read_answer(&stream, &mut Vec::new(), false)?;
        stream.set_read_timeout(Some(self.limits.answer_time))?;
        Ok(stream)
    }
}

/// The head as tiny_http gets it: always with a length, never chunked.
fn encode(number: u64, head: &Head, waited: bool, length: usize, out: &mut Vec<u8>) {
    let mut field = |name: &str, separator: &str, value: &str, end: &str| {
        for part in [name, separator, value, end] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    field(&head.method, " ", &head.target, " HTTP/1.1\r\n");
    field(NUMBER_HEADER, ": ", &number.to_string(), "\r\n");
    if waited {
        field(WAITED_HEADER, ": ", "1", "\r\n");
    }
    field("Content-Length", ": ", &length.to_string(), "\r\n");
    for (name, value) in &head.headers {
        field(name, ": ", value, "\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads until `bytes` holds exactly one answer. After an error, `bytes` holds
/// what has come so far, and reading can go on from there.
fn read_answer(mut stream: &UnixStream, bytes: &mut Vec<u8>, to_head: bool) -> io::Result<Extent> {
    let mut extent = None;
    loop {
        if extent.is_none() {
            extent = measure(bytes, to_head)?;
        }
        let have = bytes.len();
        let want = match extent {
            None => READ_BYTES,
            Some(extent) => match (extent.head + extent.body).checked_sub(have) {
                Some(0) => return Ok(extent),
                Some(missing) => missing.min(BODY_READ_BYTES),
                None => return Err(io::Error::other("more than one answer")),
            },
        };
        if let Some(extent) = extent {
            bytes.reserve_exact(extent.head + extent.body - have);
        }
        bytes.resize(have + want, 0);
        let read = stream.read(&mut bytes[have..]);
        bytes.truncate(have + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn busy() -> Refusal {
    Refusal::new(503, "server busy")
}

fn shutting_down() -> Refusal {
    Refusal::new(503, "shutting down")
}
