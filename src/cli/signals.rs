//! SIGINT, SIGTERM and SIGHUP as a channel.

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Error;

/// Receives once when the process is asked to end. A second signal ends it at
/// once, with exit code 130. SIGHUP is left alone when it is ignored already, as
/// `nohup` does it. Starts the thread "signals".
///
/// # Errors
/// When the signals or the thread cannot be had; to be called once a process.
pub fn stop() -> Result<Receiver<()>, Error> {
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
    let (sender, receiver) = bounded(1);
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || {
        for (before, _) in signals.forever().enumerate() {
            if before > 0 {
                std::process::exit(130);
            }
            // There is room for one, and this is the one.
            let _ = sender.try_send(());
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
    let thread = std::thread::Builder::new().name(thread.into());
    thread.spawn(move || {
        let _ = stop.recv();
        work();
    })?;
    Ok(())
}
