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
    ctrlc::set_handler(move || {
        if sender.try_send(()).is_err() {
            std::process::exit(130);
        }
    })?;
    Ok(receiver)
}
