//! The open connections: whom each waits for, and which one makes room.
//!
//! Owns the list of them. It must not know requests or answers. The threads of the
//! connections, the accepting thread and a shutdown use it.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sync::{lock, unpoisoned};

/// How long a request may take before its connection has to make room for
/// another one at the limit.
const SLOW: Duration = Duration::from_secs(1);

/// An open connection, as its thread and a shutdown see it.
pub(super) struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    turn: Mutex<Turn>,
}

/// Whom a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// For its client to begin a request, since then.
    Idle(Instant),
    /// For its client to go on with one.
    Request(Instant),
    /// Not for its client, or for it to take an answer.
    Ours,
    /// It has to make room for another one.
    Over,
}

impl Connection {
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(super) fn set(&self, turn: Turn) {
        *lock(&self.turn) = turn;
    }

    pub(super) fn turn(&self) -> Turn {
        *lock(&self.turn)
    }
}

/// All open connections, by number.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    ended: Condvar,
}

/// Takes its connection off the list when dropped, whatever ends the thread.
pub(super) struct Listed<'a> {
    connections: &'a Connections,
    number: u64,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn add(&self, number: u64, stream: TcpStream, peer: IpAddr) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            stream,
            peer,
            turn: Mutex::new(Turn::Idle(Instant::now())),
        });
        self.lock().insert(number, Arc::clone(&connection));
        connection
    }

    /// To be held by the thread that serves `number`.
    pub(super) fn listed(&self, number: u64) -> Listed<'_> {
        Listed {
            connections: self,
            number,
        }
    }

    /// Ends the connection that waits longest for its client: to begin a request,
    /// or else to go on with one, for [`SLOW`] at least. Whether there was one.
    pub(super) fn make_room(&self) -> bool {
        let open = self.lock();
        let now = Instant::now();
        let waiting = open.values().filter_map(|connection| {
            let rank = match connection.turn() {
                Turn::Idle(since) => (0, since),
                Turn::Request(since) if now.duration_since(since) >= SLOW => (1, since),
                _ => return None,
            };
            Some((rank, connection))
        });
        let longest = waiting.min_by_key(|(rank, _)| *rank);
        longest.is_some_and(|(_, connection)| {
            connection.set(Turn::Over);
            connection.stream.shutdown(Shutdown::Read).is_ok()
        })
    }

    /// Wakes the connections that wait for a request. Only their reading side is
    /// closed, so a request that has just come in is still answered.
    pub(super) fn close_idle(&self) {
        for connection in self.lock().values() {
            if matches!(connection.turn(), Turn::Idle(_)) {
                let _ = connection.stream.shutdown(Shutdown::Read);
            }
        }
    }

    pub(super) fn close_all(&self) {
        for connection in self.lock().values() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether all connections ended within `timeout`.
    pub(super) fn wait_until_none(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut open = self.lock();
        while !open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.ended.wait_timeout(open, left);
            open = unpoisoned(waited).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.open)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
        self.connections.ended.notify_all();
    }
}
