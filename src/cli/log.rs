//! The log: minimum level and format. It goes to standard error.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;

use crate::metrics;
use crate::sync::lock;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Log")]
pub struct Args {
    /// Minimum log level
    #[arg(
        long,
        global = true,
        env = "MESSENGER_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL",
        value_parser = PossibleValuesParser::new(LEVELS).try_map(|level| level.parse::<LevelFilter>())
    )]
    log_level: LevelFilter,
    /// Format: text for people, or one JSON object a line
    #[arg(
        long,
        global = true,
        env = "MESSENGER_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: Format,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Args {
    /// Starts logging; to be called once, at the start of the process.
    pub fn install(&self) {
        let level = self.log_level;
        let builder = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(|| Line)
            .with_thread_names(true)
            .with_target(false);
        // The C core writes to standard error by itself, several lines for a port
        // that is taken; GRPC_VERBOSITY turns it on.
        if std::env::var_os("GRPC_VERBOSITY").is_none() {
            log::set_max_level(log::LevelFilter::Error);
            grpcio::redirect_log();
        }
        // What lapin calls an error is news to those who debug it: our own lines say
        // what follows from it. A queue that is not there yet is none.
        let targets = Targets::new().with_default(level).with_target(
            "lapin",
            match level {
                LevelFilter::DEBUG | LevelFilter::TRACE => level,
                _ => LevelFilter::OFF,
            },
        );
        match self.log_format {
            Format::Text => {
                let builder = builder.with_ansi(io::stderr().is_terminal());
                builder.finish().with(targets).init();
            }
            Format::Json => builder.json().finish().with(targets).init(),
        }
    }
}

/// Longer lines are cut: a pipe takes so much at once, or nothing.
/// Source: pipe(7), PIPE_BUF on Linux.
const LINE_BYTES: usize = 4096;

/// Lines that were dropped since the last one was written.
static DROPPED: Mutex<u64> = Mutex::new(0);

/// A writer to standard error that never blocks: while it is a pipe that is full,
/// lines are dropped and counted.
struct Line;

impl Write for Line {
    /// Gets whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut dropped = lock(&DROPPED);
        let mut stderr = io::stderr().lock();
        if !takes_a_line(&stderr) {
            *dropped += 1;
            metrics::add(&metrics::DROPPED, &["log_lines"], 1);
            return Ok(line.len());
        }
        stderr.write_all(&cut(line))?;
        if *dropped > 0 && takes_a_line(&stderr) {
            writeln!(stderr, "{{\"droppedLogLines\":{dropped}}}")?;
            *dropped = 0;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn takes_a_line(stderr: &io::StderrLock<'_>) -> bool {
    let mut polled = [PollFd::new(stderr, PollFlags::OUT)];
    let ready = poll(&mut polled, Some(&Timespec::default()));
    ready.is_ok() && polled[0].revents().contains(PollFlags::OUT)
}

/// At most [`LINE_BYTES`] of it, still ending like a line.
fn cut(line: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if line.len() <= LINE_BYTES {
        return line.into();
    }
    [&line[..LINE_BYTES - 4], b"...\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES, cut};

    #[test]
    fn a_long_line_is_cut_and_stays_a_line() {
        let line = [vec![b'a'; LINE_BYTES - 1], b"\n".to_vec()].concat();
        assert_eq!(cut(&line), line);
        let longer = [b"b", &*line].concat();
        let cut = cut(&longer);
        assert!(cut.len() == LINE_BYTES && cut.ends_with(b"aaa...\n"));
    }
}
