//! Terminal input and output that commands share.

use std::io::{self, BufRead as _, Write};
use std::thread;

use crossbeam_channel::{Receiver, bounded};

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

/// Whether colours are wanted on standard output. Source: <https://no-color.org>
pub fn colours() -> bool {
    use std::io::IsTerminal as _;
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The lines of standard input, read by the thread "stdin"; disconnected at
/// their end.
///
/// # Errors
/// When the thread cannot be started.
pub fn input() -> io::Result<Receiver<String>> {
    let (sender, lines) = bounded(0);
    let thread = thread::Builder::new().name("stdin".into());
    thread.spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(lines)
}
