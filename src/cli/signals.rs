//! SIGINT, SIGTERM and SIGHUP as a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Error, terminal};
use crate::reload;
use crate::sync::spawn;

/// Receives once when the process is asked to end. A second signal ends it at
/// once, with exit code 130. SIGHUP does nothing when it was ignored at the start, as
/// `nohup` has it. Starts the thread "signals".
///
/// # Errors
/// When the signals or the thread cannot be had; to be called once a process.
pub fn stop() -> Result<Receiver<()>, Error> {
    receive(|| false)
}

/// As [`stop`], but while files are watched ([`reload`]), SIGHUP has them read again.
///
/// # Errors
/// As [`stop`].
pub fn stop_or_reload() -> Result<Receiver<()>, Error> {
    receive(|| {
        let watched = reload::read_again();
        if watched {
            tracing::info!("SIGHUP: files are read again");
        }
        watched
    })
}

/// `reload` tells whether it has taken the SIGHUP.
fn receive(reload: impl Fn() -> bool + Send + 'static) -> Result<Receiver<()>, Error> {
    let (sender, receiver) = bounded(1);
    let asked = Arc::new(AtomicBool::new(false));
    let ask = move || {
        if asked.swap(true, Ordering::Relaxed) {
            terminal::restore();
            std::process::exit(130);
        }
        // There is room for one, and this is the one.
        let _ = sender.try_send(());
    };
    ctrlc::set_handler(ask.clone()).map_err(std::io::Error::other)?;
    let ignored = is_ignored(SIGHUP);
    let mut others = Signals::new([SIGTERM, SIGHUP])?;
    spawn("signals", move || {
        for signal in others.forever() {
            if signal != SIGHUP || (!reload() && !ignored) {
                ask();
            }
        }
    })?;
    Ok(receiver)
}

/// Source: proc(5), /proc/PID/status. Elsewhere the answer is no.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Does `work` on a thread of this name once `stop` has come.
///
/// # Errors
/// When the thread cannot be started.
pub fn on_stop(
    stop: Receiver<()>,
    thread: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), Error> {
    spawn(thread, move || {
        let _ = stop.recv();
        work();
    })?;
    Ok(())
}
