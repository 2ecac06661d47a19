//! Streamed answers, such as server-sent events.
//!
//! Owns [`Source`], the framing of its chunks, and the count of open streams. It
//! must not know lanes, nor what the chunks mean. The thread of the client's
//! connection runs it, so a stream blocks only its own client.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::gate::Pass;
use super::refusal::Refusal;
use super::socket::{Client as _, Socket};
use crate::budget::Hold;

/// How long to wait for a source before checking whether the client has gone or
/// the front is stopping.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// What a streamed answer is made of, see [`Response::stream`](super::Response::stream).
///
/// It is dropped when the stream is over, whatever ended it, and also if the
/// client was gone before the first chunk. So a subscription that it holds
/// always ends.
pub trait Source: Send {
    /// Waits for something to send, `timeout` at most. One that waits longer
    /// delays only this client, and a shutdown of the front.
    ///
    /// It runs on the connection's thread, which has a small stack. A panic is
    /// logged and resets this connection.
    fn next(&mut self, timeout: Duration) -> Next;
}

/// What a [`Source`] has to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Sent at once. An empty one is skipped: it would mean the end.
    Chunk(Vec<u8>),
    /// Nothing in time. The source is asked again if the client is still there.
    Nothing,
    /// The answer is complete, and the source is not asked again.
    End,
}

/// What ends a stream that its source does not: the front's drain, a pass that holds no
/// longer, the front's end.
pub(super) type Until<'a> = (Option<&'a Place<'a>>, &'a Pass, &'a AtomicBool);

/// A source on its way from the handler to the end. None of its panics gets out.
pub(super) struct Stream(Option<Box<dyn Source>>);

impl Stream {
    pub(super) fn new(source: Box<dyn Source>) -> Stream {
        Stream(Some(source))
    }

    /// Writes what the source has to send until it ends. With `chunked` false,
    /// only the head's length or the end of the connection tells the client that it
    /// is complete. `hold` is what the chunk in hand takes of the budget, unless
    /// the handler holds that already. When `pass` holds no longer, that is the end.
    ///
    /// # Errors
    /// The stream was cut off: the client left or does not read, the memory for
    /// all clients is taken, the source panicked, or the front is `stopping` and the
    /// source had nothing more.
    pub(super) fn send(
        mut self,
        client: &mut Socket<'_>,
        chunked: bool,
        hold: Option<&mut Hold>,
        (place, pass, stopping): Until<'_>,
    ) -> io::Result<()> {
        client.keep_alive();
        let end = self.send_all(client, chunked, hold, (place, pass, stopping));
        if let Err(error) = &end {
            tracing::debug!(%error, "a stream was cut off");
        }
        end
    }

    fn send_all(
        &mut self,
        client: &mut Socket<'_>,
        chunked: bool,
        mut hold: Option<&mut Hold>,
        (place, pass, stopping): Until<'_>,
    ) -> io::Result<()> {
        loop {
            // A source that its owner has ended before the front gets to say so.
            let stopping = stopping.load(Ordering::SeqCst);
            let left = place.and_then(Place::left);
            let next = match pass {
                Some(holds) if !holds() => Next::End,
                _ if left == Some(Duration::ZERO) => Next::End,
                _ if stopping => self.next(Duration::ZERO)?,
                _ => self.next(left.map_or(LOOK_TIME, |left| left.min(LOOK_TIME)))?,
            };
            if let (Next::Chunk(chunk), Some(hold)) = (&next, &mut hold) {
                hold.set(chunk.capacity()).map_err(io::Error::other)?;
            }
            match next {
                Next::Chunk(chunk) if chunk.is_empty() => {}
                Next::Chunk(mut chunk) if chunked => {
                    let size = format!("{:x}\r\n", chunk.len());
                    chunk.extend_from_slice(b"\r\n");
                    client.write(size.as_bytes(), &chunk)?;
                }
                Next::Chunk(chunk) => client.write(&chunk, b"")?,
                Next::Nothing if stopping => return Err(io::Error::other("shutting down")),
                Next::Nothing if client.has_left() => {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
                Next::Nothing => {}
                Next::End if chunked => return client.write(b"0\r\n\r\n", b""),
                Next::End => return Ok(()),
            }
        }
    }

    fn next(&mut self, timeout: Duration) -> io::Result<Next> {
        let Some(source) = &mut self.0 else {
            return Ok(Next::End);
        };
        catch_unwind(AssertUnwindSafe(|| source.next(timeout))).map_err(|_| {
            tracing::error!("the source of a stream panicked");
            io::Error::other("its source panicked")
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let source = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(source))).is_err() {
            tracing::error!("the source of a stream panicked at its end");
        }
    }
}

/// The number of open streams, and how they end.
#[derive(Default)]
pub(super) struct Streams {
    open: AtomicUsize,
    opened: AtomicUsize,
    /// Since when the front drains, and over which time.
    drain: OnceLock<(Instant, Duration)>,
}

/// Held as long as a stream is open.
pub(super) struct Place<'a> {
    streams: &'a Streams,
    number: usize,
}

impl Place<'_> {
    /// The time until this stream has to end, if the front drains. Multiples of the
    /// golden ratio spread streams evenly, whichever of them are open.
    fn left(&self) -> Option<Duration> {
        let (since, over) = self.streams.drain.get()?;
        let share = (self.number as f64 * 0.618_033_988_749_895).fract();
        let due = *since + over.mul_f64(share);
        Some(due.saturating_duration_since(Instant::now()))
    }
}

impl Streams {
    /// A place among at most `limit`.
    pub(super) fn enter(&self, limit: usize) -> Result<Place<'_>, Refusal> {
        // Counted before the look, so that two cannot both take the last place.
        let place = Place {
            streams: self,
            number: self.opened.fetch_add(1, Ordering::Relaxed),
        };
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        if self.drain.get().is_some() {
            return Err(Refusal::new(503, "shutting down"));
        }
        if before < limit {
            return Ok(place);
        }
        let message = format!("over the limit of {limit} open streams");
        Err(Refusal::new(503, message))
    }

    /// Opens no more, and ends those that are open one by one over this time.
    pub(super) fn drain(&self, over: Duration) {
        let _ = self.drain.set((Instant::now(), over));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::SeqCst);
    }
}
