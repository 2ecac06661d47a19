//! SIGINT, SIGTERM and SIGHUP as a channel.

use crossbeam_channel::{Receiver, bounded};

use super::Error;

/// Receives once when the process is asked to end. A second signal ends it at
/// once, with exit code 130.
///
/// # Errors
/// When the handler cannot be installed; to be called once a process.
pub fn stop() -> Result<Receiver<()>, Error> {
    let (sender, receiver) = bounded(1);
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            std::process::exit(130);
        }
        // There is room for one, and this is the one.
        let _ = sender.try_send(());
    })?;
    Ok(receiver)
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
