//! Fresh subjects, made ahead by threads of their own: a Python bridge may take
//! ten seconds until it listens, which it waits for a name server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::subject::{Column, Subject};
use crate::compare::peer::{Peer, Toolbox};

/// How many Python bridges start at a time.
const MAKERS: usize = 4;

/// A port that was free may be taken by the time a program listens on it.
const TRIES: usize = 2;

/// Longer than any program may take to start, twice for server and bridge.
const START: Duration = Duration::from_secs(300);

pub struct Stock {
    ready: Receiver<io::Result<Arc<Subject>>>,
    makers: Vec<JoinHandle<()>>,
}

impl Stock {
    /// Begins to make subjects, `most` at most.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn open(toolbox: &Toolbox, column: &Column, most: usize) -> io::Result<Self> {
        let slow = column.bridge == Some(Peer::Python);
        let count = if slow { MAKERS.min(most) } else { 1 };
        let (sender, ready) = bounded(0);
        let left = Arc::new(AtomicUsize::new(most));
        let mut makers = Vec::new();
        for _ in 0..count {
            let (toolbox, column) = (toolbox.clone(), column.clone());
            let (sender, left) = (sender.clone(), left.clone());
            let take = move |n: usize| n.checked_sub(1);
            let make = move || {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    // Nobody wants any more.
                    if sender.send(start(&toolbox, &column)).is_err() {
                        return;
                    }
                }
            };
            makers.push(thread::Builder::new().name("stock".into()).spawn(make)?);
        }
        Ok(Self { ready, makers })
    }

    /// The next one; see [`Subject::start`].
    ///
    /// # Errors
    /// When it could not be started.
    pub fn take(&self) -> io::Result<Arc<Subject>> {
        let next = self.ready.recv_timeout(START);
        next.map_err(|_| io::Error::other("there are no more"))?
    }

    /// Makes no more. Those that are being made are ended; to wait for that, join
    /// the threads.
    pub fn close(self) -> Vec<JoinHandle<()>> {
        self.makers
    }
}

fn start(toolbox: &Toolbox, column: &Column) -> io::Result<Arc<Subject>> {
    let mut started = Subject::start(toolbox, column);
    for _ in 1..TRIES {
        if started.is_err() {
            started = Subject::start(toolbox, column);
        }
    }
    started.map(Arc::new)
}
