//! TLS on a client's socket, which does not block here: so every deadline holds, however
//! slowly the bytes of a record come.
//!
//! It must not know HTTP. A connection's thread runs it.

use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::ssl::{Error, ErrorCode, ShutdownState, Ssl, SslContext, SslStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is sent as one record, and so the least that a client needs to read any of it.
const RECORD_BYTES: usize = 16 * 1024;

/// Says goodbye when dropped, so that the client knows that nothing was cut off.
pub(super) struct Tls<'a> {
    stream: &'a TcpStream,
    session: SslStream<&'a TcpStream>,
}

/// Why there is no session.
pub(super) enum Failed {
    /// The client speaks plain HTTP.
    Plain,
    /// What it offers or shows is not enough, and it was told so.
    Refused,
    Gone,
}

impl<'a> Tls<'a> {
    /// The handshake, within this time.
    pub(super) fn accept(
        stream: &'a TcpStream,
        context: &SslContext,
        within: Duration,
    ) -> Result<Self, Failed> {
        let start = || -> io::Result<_> {
            stream.set_nonblocking(true)?;
            Ok(SslStream::new(Ssl::new(context)?, stream)?)
        };
        let session = start().map_err(|_| Failed::Gone)?;
        let mut tls = Self { stream, session };
        tls.within(within, SslStream::accept).map_err(|error| {
            tracing::debug!(%error, "no TLS session");
            // Nothing may be sent in a session that is none.
            tls.forsake();
            let stack = error
                .get_ref()
                .and_then(|e| e.downcast_ref::<Error>()?.ssl_error());
            match stack.map(|stack| stack.errors()) {
                None => Failed::Gone,
                Some([first, ..]) if first.reason() == Some("http request") => Failed::Plain,
                Some(_) => Failed::Refused,
            }
        })?;
        Ok(tls)
    }

    /// As much as there is. 0: the client has closed its side.
    pub(super) fn read(&mut self, buffer: &mut [u8], within: Duration) -> io::Result<usize> {
        self.within(within, |session| match session.ssl_read(buffer) {
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(0),
            read => read,
        })
    }

    /// Sends the first record of it, or waits so long for room. After a wait in vain, the
    /// same has to be given again.
    pub(super) fn write(&mut self, parts: &[IoSlice<'_>], within: Duration) -> io::Result<usize> {
        let mut parts = parts.iter().filter(|part| !part.is_empty());
        let first = parts.next().map_or(&[][..], |part| part);
        let mut joined = Vec::new();
        let record = match parts.next() {
            Some(second) if first.len() < RECORD_BYTES => {
                let more = second.len().min(RECORD_BYTES - first.len());
                joined.extend_from_slice(first);
                joined.extend_from_slice(&second[..more]);
                &joined
            }
            _ => first,
        };
        self.within(within, |session| session.ssl_write(record))
    }

    /// No goodbye: what the client has is torn, and it has to notice.
    pub(super) fn forsake(&mut self) {
        self.session.set_shutdown(ShutdownState::SENT);
    }

    /// Takes a step of the session until it is done, and waits for the client in between.
    fn within<T>(
        &mut self,
        within: Duration,
        mut step: impl FnMut(&mut SslStream<&'a TcpStream>) -> Result<T, Error>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let error = match step(&mut self.session) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let awaited = match error.code() {
                ErrorCode::WANT_READ => PollFlags::IN,
                ErrorCode::WANT_WRITE => PollFlags::OUT,
                _ => return Err(error.into_io_error().unwrap_or_else(io::Error::other)),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let _ = poll(&mut [PollFd::new(self.stream, awaited)], Some(&left));
        }
    }
}

impl Drop for Tls<'_> {
    fn drop(&mut self) {
        // A client that takes no more will not miss it.
        let _ = self.session.shutdown();
        let _ = self.stream.set_nonblocking(false);
    }
}
