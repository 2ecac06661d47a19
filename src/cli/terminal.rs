//! Terminal input and output that commands share.

use std::io::{self, BufRead as _, Write};
use std::sync::Mutex;

use crossbeam_channel::{Receiver, bounded};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Error;
use crate::sync::{lock, spawn};

/// The text with control characters escaped: users' text must not be able to move
/// the terminal's cursor.
pub fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

/// Prints and flushes a line; `false` when the reader of the pipe has closed it.
///
/// # Errors
/// What the system says otherwise.
pub fn print_line(out: &mut impl Write, line: &str) -> io::Result<bool> {
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Prints a line on standard output, whether anybody reads it or not.
///
/// # Errors
/// As [`print_line`].
pub fn say(line: &str) -> Result<(), Error> {
    print_line(&mut io::stdout().lock(), line)?;
    Ok(())
}

/// Whether colours are wanted on standard output. Source: <https://no-color.org>
pub fn colours() -> bool {
    use std::io::IsTerminal as _;
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// While this is there, standard input gives keys as they are pressed, without showing
/// them. Ctrl-C is a signal all the same.
#[derive(Debug)]
pub struct Unbuffered;

/// The terminal's settings before that.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

impl Unbuffered {
    /// # Errors
    /// When standard input is no terminal.
    pub fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut now = before.clone();
        now.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        *lock(&BEFORE) = Some(before);
        tcsetattr(io::stdin(), OptionalActions::Now, &now)?;
        Ok(Self)
    }
}

impl Drop for Unbuffered {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was; for an end that drops nothing.
pub fn restore() {
    if let Some(before) = lock(&BEFORE).take() {
        // A terminal that has gone wants nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// The lines of standard input, read by the thread "stdin"; disconnected at
/// their end.
///
/// # Errors
/// When the thread cannot be started.
pub fn input() -> io::Result<Receiver<String>> {
    let (sender, lines) = bounded(0);
    spawn("stdin", move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(lines)
}
