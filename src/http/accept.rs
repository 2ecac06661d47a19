//! The thread `http-accept`: takes connections and gives each its thread.
//!
//! Owns the listening socket. It must not know requests. Whatever goes wrong
//! with one connection, it keeps listening.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{Shared, serve};
use super::journal;
use super::open::Connection;
use super::refusal::Refusal;
use crate::trace;

/// Enough for the parser and for a callback, small enough for a thousand.
const STACK_BYTES: usize = 128 * 1024;
/// Wait after a failed accept, which is mostly a lack of file descriptors.
const BACK_OFF: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// Refused clients that linger at the same time.
const LINGERING: usize = 64;

/// Accepts until the other end of `wake` is dropped.
pub(super) fn run(listener: &TcpListener, wake: &UnixStream, shared: &Arc<Shared>) {
    let mut refused = Refused {
        silently: shared.limits.tls.is_some(),
        ..Refused::default()
    };
    let (mut failing, mut threadless) = (false, false);
    let mut number = 0u64;
    while !shared.stopping.load(Ordering::SeqCst) {
        if !refused.wait(listener, wake) {
            return;
        }
        match listener.accept() {
            Ok((stream, peer)) => {
                failing = false;
                let peer = peer.ip();
                let connections = &shared.connections;
                let gate = shared.limits.gate.as_ref();
                let full = connections.len() >= shared.limits.connections;
                if let Some(Err(refusal)) = gate.map(|gate| gate.connection(peer)) {
                    refused.add(stream, &refusal, shared);
                } else if full && !connections.make_room() {
                    let limit = shared.limits.connections;
                    let message = format!("over the limit of {limit} connections");
                    refused.add(stream, &Refusal::new(503, message), shared);
                } else {
                    number += 1;
                    let started = start(number, stream, peer, shared);
                    if let Err((error, stream)) = started {
                        if !std::mem::replace(&mut threadless, true) {
                            tracing::warn!(%error, "no threads for more connections");
                        }
                        if let Some(stream) = stream {
                            let refusal = Refusal::new(503, "no thread for this connection");
                            refused.add(stream, &refusal, shared);
                        }
                    } else {
                        threadless = false;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Logged once, not twenty times a second.
                if !failing {
                    tracing::warn!(%error, "cannot accept connections, still trying");
                }
                failing = true;
                // Those that are refused may hold the descriptors that are missing.
                refused.lingering.clear();
                let mut until_stop = [PollFd::new(wake, PollFlags::IN)];
                let _ = poll(&mut until_stop, Some(&BACK_OFF));
            }
        }
    }
}

/// Gives `stream` its thread, or gives it back if there is none to be had.
fn start(
    number: u64,
    stream: TcpStream,
    peer: IpAddr,
    shared: &Arc<Shared>,
) -> Result<(), (io::Error, Option<TcpStream>)> {
    let _span = trace::span("accept");
    let connection = shared.connections.add(number, stream, peer);
    let (theirs, with) = (Arc::clone(&connection), Arc::clone(shared));
    // A thread's name has at most 15 bytes.
    let spawned = thread::Builder::new()
        .name(format!("http-conn-{}", number % 100_000))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _listed = with.connections.listed(number);
            serve(&theirs, &with);
        });
    spawned.map(drop).map_err(|error| {
        drop(shared.connections.listed(number));
        let stream = Arc::into_inner(connection).map(Connection::into_stream);
        (error, stream)
    })
}

/// Clients that were sent a 503 or 429 and now get some time to read it, without a
/// thread: a close while their request is unread would take it away from them.
#[derive(Default)]
struct Refused {
    /// Nothing is said to those who expect TLS.
    silently: bool,
    lingering: VecDeque<(Instant, TcpStream)>,
}

impl Refused {
    fn add(&mut self, mut stream: TcpStream, refusal: &Refusal, shared: &Shared) {
        journal::count(shared.service, refusal.status);
        let bytes = match self.silently {
            true => Vec::new(),
            false => refusal.encode(true, true),
        };
        // A fresh socket has room for this. If not, the client gets a close.
        if stream.set_nonblocking(true).is_ok() && stream.write_all(&bytes).is_ok() {
            let _ = stream.shutdown(Shutdown::Write);
            if self.lingering.len() == LINGERING {
                self.lingering.pop_front();
            }
            self.lingering.push_back((Instant::now() + LINGER, stream));
        }
    }

    /// Waits for the next connection. `false`: it is time to stop.
    fn wait(&mut self, listener: &TcpListener, wake: &UnixStream) -> bool {
        loop {
            let now = Instant::now();
            while self
                .lingering
                .front()
                .is_some_and(|(until, _)| *until <= now)
            {
                self.lingering.pop_front();
            }
            let timeout = self.lingering.front().map(|_| BACK_OFF);
            let mut fds = [
                PollFd::new(listener, PollFlags::IN),
                PollFd::new(wake, PollFlags::IN),
            ];
            let _ = poll(&mut fds, timeout.as_ref());
            if !fds[1].revents().is_empty() {
                return false;
            }
            if !fds[0].revents().is_empty() {
                return true;
            }
        }
    }
}
