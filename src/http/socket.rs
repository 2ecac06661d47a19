//! A client's socket: reads and writes with a time limit, the question whether
//! an answer arrived, and a close that lets the client read the last answer.
//!
//! Owns everything that is peculiar to TCP. It must not know HTTP. A
//! connection's thread runs it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::limits::Limits;
use super::tls::{Failed, Tls};

/// How long [`Socket::delivered`] waits for the client's kernel.
const ACKNOWLEDGE_TIME: Duration = Duration::from_secs(1);
/// Pause between two checks.
const ACKNOWLEDGE_STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// The least that a client has to take of an answer, in bytes per second.
const LOWEST_RATE: u32 = 16 * 1024;

/// TCP keepalive, which notices a client that vanished without closing: idle time,
/// number of probes, keepalive interval.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 3;
const KEEP_ALIVE_STEP: Duration = Duration::from_secs(5);

/// What the bytes of requests come from: a client's socket, or a test's memory.
pub trait Client {
    /// Appends at most `most` bytes to `buffer` with one read. 0: the client has
    /// closed its side.
    ///
    /// # Errors
    /// [`ReadError`].
    fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        most: usize,
        timeout: Duration,
    ) -> Result<usize, ReadError>;

    /// Writes both parts.
    ///
    /// # Errors
    /// When the client cannot be answered any more.
    fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    TimedOut,
    /// Reset, or broken in any other way: the client cannot be answered.
    Gone,
}

pub(super) struct Socket<'a> {
    stream: &'a TcpStream,
    tls: Option<Tls<'a>>,
    local: IpAddr,
    write_time: Duration,
    /// The timeout set on the socket, to change it only when needed.
    read_timeout: Option<Duration>,
}

impl<'a> Socket<'a> {
    pub(super) fn new(stream: &'a TcpStream, limits: &Limits) -> io::Result<Socket<'a>> {
        stream.set_nodelay(true)?;
        // Several looks in the time in which a client has to get on.
        stream.set_write_timeout(Some(limits.write_time / 8))?;
        Ok(Socket {
            stream,
            tls: None,
            local: stream.local_addr()?.ip(),
            write_time: limits.write_time,
            read_timeout: None,
        })
    }

    /// Speaks TLS from here on, as it is now, if it is asked for.
    pub(super) fn secure(&mut self, limits: &Limits) -> Result<(), Failed> {
        let Some(tls) = &limits.tls else {
            return Ok(());
        };
        let within = limits.idle_time.min(limits.request_time);
        self.tls = Some(Tls::accept(self.stream, &tls.get().context, within)?);
        Ok(())
    }

    /// The address that the client has reached.
    pub(super) fn local(&self) -> IpAddr {
        self.local
    }

    /// Whether the client has closed its side or the connection is broken.
    pub(super) fn has_left(&self) -> bool {
        !matches!(self.state(), Ok(now) if now.is_empty())
    }

    /// Turns on TCP keepalive.
    pub(super) fn keep_alive(&self) {
        use rustix::net::sockopt;
        // Without it a stream that sends nothing would wait for ever for a
        // client whose machine is gone. That is all that a failure costs.
        let _ = sockopt::set_tcp_keepidle(self.stream, KEEP_ALIVE_IDLE);
        let _ = sockopt::set_tcp_keepintvl(self.stream, KEEP_ALIVE_STEP);
        let _ = sockopt::set_tcp_keepcnt(self.stream, KEEP_ALIVE_PROBES);
        let _ = sockopt::set_socket_keepalive(self.stream, true);
    }

    fn state(&self) -> rustix::io::Result<PollFlags> {
        let mut fds = [PollFd::new(self.stream, PollFlags::RDHUP)];
        poll(&mut fds, Some(&Timespec::default())).map(|_| fds[0].revents())
    }

    /// Whether the answer that was just written reached the client, as far as TCP
    /// can tell. Waits for a second at most.
    ///
    /// A write "succeeds" as soon as the kernel has the bytes. If the client had
    /// closed its socket by then, a reset comes back later, and nobody hears of
    /// it. A client that has closed has sent a FIN, but so has one that only
    /// said that it will send no more (`nc -N`) and still reads. So when there
    /// was a FIN, the client's kernel decides: it acknowledges the bytes if
    /// somebody can read them, and resets the connection if nobody can.
    /// A client that closes after this moment, unread answer and all, cannot be
    /// told from one that has read it. Nor can one that resets within these
    /// microseconds although it has read: that one counts as lost.
    pub(super) fn delivered(&self) -> bool {
        if !self.has_left() {
            return true;
        }
        let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        let deadline = Instant::now() + ACKNOWLEDGE_TIME;
        loop {
            // In this order: a reset also empties the queue.
            let unacknowledged = unacknowledged(self.stream);
            match self.state() {
                Ok(now) if now.intersects(broken) => return false,
                Ok(_) if matches!(unacknowledged, Ok(0)) => return true,
                Ok(_) if Instant::now() < deadline => {}
                // Undecided. A message twice is better than a message lost.
                _ => return false,
            }
            let mut nothing = [PollFd::new(self.stream, PollFlags::empty())];
            let _ = poll(&mut nothing, Some(&ACKNOWLEDGE_STEP));
        }
    }

    /// Ends the connection so that the client gets to read the last answer: a
    /// plain close would reset it while the client still sends, and a reset
    /// throws away what the client has not read yet.
    pub(super) fn close_softly(mut self, limits: &Limits) {
        // What comes now is not looked at.
        drop(self.tls.take());
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + limits.drain_time;
        let (mut buffer, mut drained) = (Vec::new(), 0);
        while drained < limits.drain_bytes {
            let left = deadline.saturating_duration_since(Instant::now());
            buffer.clear();
            match self.read(&mut buffer, 16 * 1024, left) {
                Ok(1..) if !left.is_zero() => drained += buffer.len(),
                _ => return,
            }
        }
    }

    /// Ends the connection so that the client cannot take a torn answer for a
    /// whole one, or read later what was counted as undelivered.
    pub(super) fn reset(mut self) {
        self.tls.as_mut().map(Tls::forsake);
        let _ = rustix::net::sockopt::set_socket_linger(self.stream, Some(Duration::ZERO));
    }
}

impl Client for Socket<'_> {
    fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        most: usize,
        timeout: Duration,
    ) -> Result<usize, ReadError> {
        // A timeout of 0 would mean none.
        let timeout = timeout.max(Duration::from_millis(1));
        if self.tls.is_none() && self.read_timeout != Some(timeout) {
            self.stream
                .set_read_timeout(Some(timeout))
                .map_err(|_| ReadError::Gone)?;
            self.read_timeout = Some(timeout);
        }
        let have = buffer.len();
        buffer.resize(have + most, 0);
        let result = loop {
            let read = match &mut self.tls {
                None => self.stream.read(&mut buffer[have..]),
                Some(tls) => tls.read(&mut buffer[have..], timeout),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        buffer.truncate(have + result.as_ref().map_or(0, |read| *read));
        result.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ReadError::TimedOut,
            _ => ReadError::Gone,
        })
    }

    /// Writes both parts, with one system call if the kernel has room for them. The
    /// client has to take the [`LOWEST_RATE`], on average over each write time.
    /// After an error the stream is torn: nothing more may be written.
    fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut rest = &mut parts[..];
        let mut left = head.len() + body.len();
        let least = f64::from(LOWEST_RATE) * self.write_time.as_secs_f64();
        let mut look = None;
        loop {
            let written = match &mut self.tls {
                None => self.stream.write_vectored(rest),
                Some(tls) => tls.write(rest, self.write_time / 8),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left -= written;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock => {}
                    _ => return Err(error),
                },
            }
            if left == 0 {
                return Ok(());
            }
            // The kernel takes large pieces at long intervals. So what counts is
            // how much the client still has to take.
            let queued = unacknowledged(self.stream)?;
            let missing = left + usize::try_from(queued).unwrap_or(0);
            let (since, before) = *look.get_or_insert((Instant::now(), missing));
            if since.elapsed() >= self.write_time {
                if (before.saturating_sub(missing) as f64) < least {
                    return Err(ErrorKind::TimedOut.into());
                }
                look = None;
            }
        }
    }
}

/// Bytes in the send queue that the other side has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> io::Result<i32> {
    // SIOCOUTQ of tcp(7). It has this value on x86, ARM and RISC-V.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    #[expect(unsafe_code, reason = "rustix has no wrapper for this request")]
    // SAFETY: SIOCOUTQ on a TCP socket writes one int and reads nothing.
    let count =
        unsafe { rustix::ioctl::ioctl(stream, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new()) };
    Ok(count?)
}
