//! Reading one whole request from a client, within all limits.
//!
//! Owns the buffers of a connection, so that what a client pipelines is kept for
//! the next round. It must not know lanes or answers. A connection's thread
//! runs it.

use std::time::{Duration, Instant};

use super::chunked::Decoder;
use super::head::{self, Framing, Head};
use super::limits::Limits;
use super::refusal::Refusal;
use super::socket::{Client, ReadError};
use crate::budget::Hold;
use crate::trace;

/// Memory that a connection keeps between two requests, per buffer.
pub(super) const KEPT_BYTES: usize = 4 * 1024;
const HEAD_READ_BYTES: usize = 4 * 1024;
const CHUNKED_READ_BYTES: usize = 16 * 1024;
const BODY_READ_BYTES: usize = 64 * 1024;

/// Why there is no request.
#[derive(Debug)]
pub enum Failure {
    /// An error for the client, after which the connection is closed.
    Refused(Refusal),
    /// The client has gone.
    Gone,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

/// The buffers of a connection.
#[derive(Default)]
pub struct Intake {
    /// Read but not used yet.
    input: Vec<u8>,
    /// The decoded body of the request that was returned last.
    pub body: Vec<u8>,
    /// The client has sent something, or has had the time for it.
    known: bool,
}

impl Intake {
    /// Whether the client has sent nothing beyond the last request.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Waits for a request and takes it in; `begun` is called at its first byte.
    /// `None`: the client closed, or stayed silent for the idle time. `hold` is
    /// what the body takes of the budget.
    ///
    /// # Errors
    /// [`Failure`], after which nothing more may be taken in.
    pub fn next(
        &mut self,
        client: &mut impl Client,
        limits: &Limits,
        begun: impl FnOnce(),
        hold: &mut Hold,
    ) -> Result<Option<Head>, Failure> {
        self.shrink();
        if self.input.is_empty() {
            // A client that never sent anything gets less time.
            let time = match std::mem::replace(&mut self.known, true) {
                true => limits.idle_time,
                false => limits.idle_time.min(limits.request_time),
            };
            match client.read(&mut self.input, HEAD_READ_BYTES, time) {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
        begun();
        let _span = trace::span("receive");
        let mut source = Source {
            client,
            deadline: Instant::now() + limits.request_time,
            limits,
        };
        let head = loop {
            if let Some(head) = head::parse(&self.input, limits)? {
                break head;
            }
            // The parser refuses a head that has no room left.
            let room = limits.header_bytes.saturating_sub(self.input.len());
            source.read(&mut self.input, room.clamp(1, HEAD_READ_BYTES))?;
        };
        self.input.drain(..head.bytes);
        let has_body = head.framing != Framing::Length(0);
        if head.expects_continue && has_body && self.input.is_empty() {
            let go_on = source.client.write(b"HTTP/1.1 100 Continue\r\n\r\n", b"");
            go_on.map_err(|_| Failure::Gone)?;
        }
        match head.framing {
            Framing::Length(length) => self.take_length(&mut source, length, hold)?,
            Framing::Chunked => self.take_chunked(&mut source, hold)?,
        }
        Ok(Some(head))
    }

    fn take_length(
        &mut self,
        source: &mut Source<'_, impl Client>,
        length: usize,
        hold: &mut Hold,
    ) -> Result<(), Failure> {
        let ready = length.min(self.input.len());
        self.body.extend(self.input.drain(..ready));
        // Memory grows with what has come, not with what was announced.
        while self.body.len() < length {
            let step = BODY_READ_BYTES.min(length - self.body.len());
            self.make_room(step, length, hold)?;
            source.read(&mut self.body, step)?;
        }
        Ok(())
    }

    fn take_chunked(
        &mut self,
        source: &mut Source<'_, impl Client>,
        hold: &mut Hold,
    ) -> Result<(), Failure> {
        let mut decoder = Decoder::new();
        loop {
            self.make_room(self.input.len(), source.limits.body_bytes, hold)?;
            let (used, complete) = decoder.feed(&self.input, &mut self.body, source.limits)?;
            self.input.drain(..used);
            if complete {
                return Ok(());
            }
            // What the decoder leaves is less than one line.
            source.read(&mut self.input, CHUNKED_READ_BYTES)?;
        }
    }

    /// Grows the body's buffer for so many bytes more, twofold at least but not
    /// beyond `most`. What every connection keeps is not counted.
    fn make_room(&mut self, more: usize, most: usize, hold: &mut Hold) -> Result<(), Refusal> {
        let (length, capacity) = (self.body.len(), self.body.capacity());
        if length + more > capacity {
            let grown = (length + more).max((2 * capacity).min(most));
            if grown > KEPT_BYTES {
                hold.set(grown)?;
            }
            self.body.reserve_exact(grown - length);
        }
        Ok(())
    }

    /// Gives back all memory, for a client that is only listened to.
    pub(super) fn free(&mut self, hold: &mut Hold) {
        *self = Self::default();
        hold.force(0);
    }

    fn shrink(&mut self) {
        self.body.clear();
        self.body.shrink_to(KEPT_BYTES);
        self.input.shrink_to(KEPT_BYTES);
    }
}

/// The client, until one request has to be complete.
struct Source<'a, C> {
    client: &'a mut C,
    deadline: Instant,
    limits: &'a Limits,
}

impl<C: Client> Source<'_, C> {
    fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<(), Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(self.too_slow().into());
        }
        match self.client.read(buffer, most, left) {
            Ok(0) => Err(Refusal::malformed("the request ended early").into()),
            Ok(_) => Ok(()),
            Err(ReadError::TimedOut) => Err(self.too_slow().into()),
            Err(ReadError::Gone) => Err(Failure::Gone),
        }
    }

    fn too_slow(&self) -> Refusal {
        let limit = self.limits.request_time.as_secs_f64();
        Refusal::new(
            408,
            format!("the request was not complete within {limit} s"),
        )
    }
}
