//! `messenger demo --once`: a command that runs beside the services. From its start on,
//! signals are its own: it says when this is over, and how.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;

use super::{Error, STACK_BYTES, STACK_VARIABLE};
use crate::sync::{lock, spawn};

/// This process's signals, on their way to the command.
pub struct Signals(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The first signal.
    asked: Option<i32>,
    command: Option<Pid>,
}

impl Signals {
    /// Starts the thread "signals". The receiver hears of the first one, which ends a start.
    ///
    /// # Errors
    /// When the signals or the thread cannot be had; to be called once a process.
    pub fn receive() -> Result<(Self, Receiver<()>), Error> {
        let state: Arc<Mutex<State>> = Arc::default();
        let (sender, stop) = bounded(1);
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        let ours = state.clone();
        spawn("signals", move || {
            for origin in signals.forever() {
                let mut state = lock(&ours);
                state.asked.get_or_insert(origin.signal);
                // What comes from the terminal, its processes have all got.
                let sent = origin.process.and(Signal::from_named_raw(origin.signal));
                if let (Some(command), Some(signal)) = (state.command, sent) {
                    let _ = kill_process(command, signal);
                }
                let _ = sender.try_send(());
            }
        })?;
        Ok((Self(state), stop))
    }

    /// Runs the command with these variables, unless a signal came before. Returns the exit
    /// code as a shell tells it: 128 and the signal, 127 without such a command, 126 for
    /// one that cannot be run.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn run(&self, command: &[OsString], variables: &[(String, String)]) -> Result<i32, Error> {
        let mut state = lock(&self.0);
        let [program, arguments @ ..] = command else {
            return Ok(0);
        };
        if state.asked.is_some() {
            drop(state);
            return Ok(self.interrupted());
        }
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().cloned());
        if env::var_os(STACK_VARIABLE).is_some_and(|it| it == STACK_BYTES) {
            command.env_remove(STACK_VARIABLE);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("messenger: --once: {}: {error}", program.display());
                let is_there = error.kind() != ErrorKind::NotFound;
                return Ok(if is_there { 126 } else { 127 });
            }
        };
        state.command = Some(Pid::from_child(&child));
        drop(state);
        let status = child.wait()?;
        lock(&self.0).command = None;
        let signal = status.signal().map(|signal| 128 + signal);
        Ok(status.code().or(signal).unwrap_or(1))
    }

    /// The exit code when the command has not run.
    pub fn interrupted(&self) -> i32 {
        128 + lock(&self.0).asked.unwrap_or_default()
    }
}
