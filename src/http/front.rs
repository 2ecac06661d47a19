//! The public interface: bind, serve, shut down.
//!
//! Owns the order in which the parts start and stop. It must not know requests
//! or bytes. The caller's thread runs it.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::accept;
use super::connection::Shared;
use super::exchange::{Exchange, Kept};
use super::lane::Lanes;
use super::limits::Limits;
use super::message::{Request, Response};
use super::open::Connections;
use super::ready;
use super::receipt::Receipts;
use super::stream::Streams;
use super::wait::{Line, Lines};
use crate::metrics;
use crate::retry::supervised;
use crate::sync::spawn;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;
/// The waits of a shutdown: for requests that are in flight, and for connections
/// that were cut. The lanes add half a second.
const FLIGHT_TIME: Duration = Duration::from_secs(2);
const CUT_TIME: Duration = Duration::from_secs(1);

/// A reserved address that refuses connections until [`Front::serve`].
pub struct Front {
    socket: OwnedFd,
    local_addr: SocketAddr,
    kept: Kept,
    service: &'static str,
    line: Option<Arc<dyn Line>>,
}

impl Front {
    /// Reserves the first of `addr` that is available; port 0 picks a free one.
    ///
    /// A port that somebody listens on is an error here. One that another
    /// `Front` has reserved, but does not serve yet, is an error of the later
    /// `serve`: the kernel arbitrates between listeners only.
    ///
    /// # Errors
    /// What the system says of the last address, `InvalidInput` if there is none.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Front> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in addr.to_socket_addrs()? {
            match Front::reserve(addr) {
                Ok(front) => return Ok(front),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As [`Front::bind`], with an error that names host and port.
    ///
    /// # Errors
    /// As [`Front::bind`].
    pub fn bind_named(host: &str, port: u16) -> io::Result<Front> {
        Front::bind((host, port)).map_err(|error| {
            let reason = format!("cannot listen on {host}:{port}: {error}");
            io::Error::new(error.kind(), reason)
        })
    }

    /// Keeps so many of the lanes for the methods and paths that are `quick`, which have
    /// no others: requests that wait for somebody cannot take them.
    #[must_use]
    pub fn keep_lanes(self, lanes: usize, quick: fn(&str, &str) -> bool) -> Front {
        let kept: Kept = (lanes, quick);
        Front { kept, ..self }
    }

    /// The name under which requests are counted and logged.
    #[must_use]
    pub fn named(self, service: &'static str) -> Front {
        Front { service, ..self }
    }

    /// Has requests wait in `line` before their lane.
    #[must_use]
    pub fn with_line(self, line: Arc<dyn Line>) -> Front {
        let line = Some(line);
        Front { line, ..self }
    }

    /// The address, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Starts all threads, and listens once they are ready. Each of `lanes` is
    /// the handler of one loop, which runs on a thread called `name` (or
    /// `name-0`, `name-1`, ... if there are several; 15 bytes are shown).
    ///
    /// /livez and /readyz are answered before a handler hears of them ([`Limits::ready`]).
    /// A handler that panics is logged, answered with 500, and called again.
    ///
    /// # Errors
    /// No lanes, no threads or descriptors left, or a port that was taken since
    /// [`Front::bind`]. Nothing is left running then.
    pub fn serve<H>(self, limits: Limits, lanes: Vec<H>, name: &str) -> io::Result<Serving>
    where
        H: FnMut(Request) -> Response + Send + 'static,
    {
        let count = lanes.len();
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no lanes to serve with",
            ));
        }
        metrics::memory(self.service, &limits.memory);
        let receipts = Arc::new(Receipts::default());
        let lanes = lanes.into_iter();
        let lanes = lanes.map(|handler| ready::with(limits.ready.clone(), handler));
        let lanes = lanes.collect();
        let lanes = Lanes::start(lanes, name, &receipts)?;
        let exchange = Exchange::open(lanes.socket(), count, self.kept, &limits, receipts)?;
        let shared = Arc::new(Shared {
            service: self.service,
            lines: Lines::new(self.line, limits.connections),
            limits,
            exchange,
            streams: Streams::default(),
            stopping: AtomicBool::new(false),
            connections: Connections::default(),
        });
        let (wake, woken) = UnixStream::pair()?;
        rustix::net::listen(&self.socket, BACKLOG)?;
        let listener = TcpListener::from(self.socket);
        listener.set_nonblocking(true)?;
        let for_accept = Arc::clone(&shared);
        let accept = spawn("http-accept", move || {
            supervised(|| accept::run(&listener, &woken, &for_accept));
        })?;
        Ok(Serving {
            local_addr: self.local_addr,
            shared,
            _lanes: lanes,
            accept: Some((accept, wake)),
        })
    }

    fn reserve(addr: SocketAddr) -> io::Result<Front> {
        let family = match addr {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, kind, flags, None)?;
        // A restart need not wait for the connections of the last run to expire.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &addr)?;
        let local_addr = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        let kept: Kept = (0, |_, _| false);
        Ok(Front {
            socket,
            local_addr,
            kept,
            service: "http",
            line: None,
        })
    }
}

/// A running front. Dropping it shuts it down as [`Serving::shutdown`] does.
pub struct Serving {
    local_addr: SocketAddr,
    shared: Arc<Shared>,
    _lanes: Lanes,
    /// Its thread ends when the socket beside it is dropped.
    accept: Option<(JoinHandle<()>, UnixStream)>,
}

impl Serving {
    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The time before a shutdown: opens no more streams (503), and ends those that are
    /// open one by one, evenly over this time; requests are answered. Blocks for all
    /// of it.
    pub fn drain(&self, over: Duration) {
        self.shared.streams.drain(over);
        thread::sleep(over);
    }

    /// Graceful shutdown: stops accepting, closes idle connections at once, lets
    /// requests in flight finish for 2 s, answers the rest with 503, cuts who does
    /// not take that, and ends all threads. A
    /// stream may send what its source has ready, and is cut unless that is all
    /// of it. Takes less than 4 s. A handler that is still busy then is logged and
    /// not waited for. tiny_http's own idle threads may take 5 s more to end.
    pub fn shutdown(self) {
        drop(self);
    }

    fn stop(&mut self) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::SeqCst);
        if let Some((accept, wake)) = self.accept.take() {
            drop(wake);
            let _ = accept.join();
        }
        // Only now: nobody adds a connection any more.
        shared.connections.close_idle();
        if !shared.connections.wait_until_none(FLIGHT_TIME) {
            tracing::warn!(
                open = shared.connections.len(),
                "cutting requests at shutdown"
            );
            shared.exchange.close();
            if !shared.connections.wait_until_none(CUT_TIME / 2) {
                shared.connections.close_all();
                shared.connections.wait_until_none(CUT_TIME / 2);
            }
        }
        shared.exchange.close();
        // Then the lanes are dropped: idle now, unless a handler hangs.
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}
