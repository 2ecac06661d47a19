//! Measurements. The load is this process, what is measured always another one,
//! and it is said how much CPU time each of them used.

pub(crate) mod chat;
pub(crate) mod figures;
pub(crate) mod http;
pub mod postgres;
pub mod process;
pub mod secured;
pub mod wire;

use std::io;
use std::time::Duration;

/// How long a program may give no answer before a measurement gives up.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What comes before the measured time.
const WARM_UP: Duration = Duration::from_millis(200);

fn no_answer(to: &str) -> io::Error {
    let seconds = TIMEOUT.as_secs();
    let what = format!("hangs: no answer to {to} within {seconds} s");
    io::Error::new(io::ErrorKind::TimedOut, what)
}
