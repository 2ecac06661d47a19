//! `--drain`, and what systemd is told: how a process that serves others goes from
//! its start to its end.

use std::time::Duration;

use crossbeam_channel::Receiver;
use sd_notify::NotifyState;

use super::{Error, duration};
use crate::readiness::Readiness;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "End")]
pub struct Args {
    /// Time between the first signal and the shutdown: not ready, no new streams, open
    /// ones end one by one; requests are still answered. A second signal ends it at once
    #[arg(long, env = "MESSENGER_DRAIN", default_value = "0s", value_name = "TIME", value_parser = duration::parse)]
    drain: Duration,
}

impl Args {
    /// Tells that it is ready, waits for `stop`, and drains. `drain` blocks for the
    /// time that it is given.
    pub fn wait(
        &self,
        stop: &Receiver<()>,
        readiness: &Readiness,
        drain: impl FnOnce(Duration),
    ) -> Result<(), Error> {
        tell(NotifyState::Ready);
        stop.recv()?;
        tell(NotifyState::Stopping);
        if !self.drain.is_zero() {
            tracing::info!(over = duration::text(self.drain), "draining");
            readiness.drain();
            drain(self.drain);
        }
        tracing::info!("shutting down");
        Ok(())
    }
}

/// Tells systemd, if that has started this process (`Type=notify`).
pub fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
