//! SIGINT, SIGTERM and SIGHUP as a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

use super::Error;

/// Receives once when the process is asked to end. A second signal ends it at
/// once, with exit code 130. SIGHUP is left alone when it is ignored already, as
/// `nohup` does it. Starts the thread "signals".
///
/// # Errors
/// When the signals or the thread cannot be had; to be called once a process.
pub fn stop() -> Result<Receiver<()>, Error> {
    let (sender, receiver) = bounded(1);
    let asked = Arc::new(AtomicBool::new(false));
    let ask = move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        // There is room for one, and this is the one.
        let _ = sender.try_send(());
    };
    ctrlc::set_handler(ask.clone()).map_err(std::io::Error::other)?;
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut others = Signals::new([SIGTERM].into_iter().chain(hangup))?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || others.forever().for_each(|_| ask()))?;
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
    let thread = std::thread::Builder::new().name(thread.into());
    thread.spawn(move || {
        let _ = stop.recv();
        work();
    })?;
    Ok(())
}
