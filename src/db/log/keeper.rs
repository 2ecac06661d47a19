//! What is to be done for a log from time to time: a thread with a connection of its own
//! counts senders and removes what is not retained, in small steps between which others
//! have their turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Log, Retain};
use crate::db::{BACKOFF, Error};
use crate::retry::{Retry, supervised};
use crate::sync::{lock, spawn};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Messages of one step, and the wait before the next one.
const STEP: i64 = 1000;
const PAUSE: Duration = Duration::from_millis(10);

/// Opens a connection.
type Open = Box<dyn Fn() -> Result<Box<dyn Log>, Error> + Send>;

/// Shared by who appends and the thread.
pub struct Keeper {
    appended: AtomicBool,
    /// Taken at the end.
    running: Mutex<Option<Sender<()>>>,
}

impl Keeper {
    /// Starts the thread of this name, which ends after [`Keeper::close`].
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(name: &str, open: Open, retain: Retain) -> std::io::Result<Arc<Self>> {
        let (running, stop) = bounded(0);
        let keeper = Arc::new(Self {
            // Another process may have left something to do.
            appended: AtomicBool::new(true),
            running: Mutex::new(Some(running)),
        });
        let mut work = Work {
            keeper: keeper.clone(),
            open,
            retain,
            stop,
            log: None,
            retry: Retry::new(BACKOFF.0, BACKOFF.1),
        };
        spawn(name, move || supervised(|| work.run()))?;
        Ok(keeper)
    }

    /// To be called when this process has appended something.
    pub fn look(&self) {
        self.appended.store(true, Ordering::Relaxed);
    }

    /// Ends the thread, after its step. Does not wait for it.
    pub fn close(&self) {
        *lock(&self.running) = None;
    }
}

/// The thread's side.
struct Work {
    keeper: Arc<Keeper>,
    open: Open,
    retain: Retain,
    stop: Receiver<()>,
    log: Option<Box<dyn Log>>,
    retry: Retry,
}

impl Work {
    fn run(&mut self) {
        let mut wait = LOOK;
        while self.stop.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = LOOK;
            let appended = self.keeper.appended.swap(false, Ordering::Relaxed);
            // Time passes, too.
            if !appended && !self.retain.has_bounds() {
                continue;
            }
            match self.step() {
                Ok(more) => {
                    if self.retry.succeeded() {
                        tracing::info!("the log is kept in order again");
                    }
                    if more {
                        self.keeper.look();
                        wait = PAUSE;
                    }
                }
                Err(error) => {
                    self.log = None;
                    self.keeper.look();
                    if self.retry.is_news(&error) {
                        tracing::warn!(%error, "cannot keep the log in order; trying again");
                    }
                }
            }
        }
    }

    /// Returns whether there is more to do.
    fn step(&mut self) -> Result<bool, Error> {
        self.log.take_if(|log| !log.is_open());
        let log = match &mut self.log {
            Some(log) => log,
            none => none.insert((self.open)()?),
        };
        log.keep(self.retain, STEP)
    }
}
