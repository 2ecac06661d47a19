//! A child process as an owned value: killed and reaped when it is dropped, its
//! standard error kept in a file and printed when the test fails.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use messenger::compare::load::process::{self, Program};

pub use rustix::process::Signal;

use super::{SOON, eventually};

pub struct Process {
    name: String,
    program: Program,
    lines: Receiver<String>,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

/// A command whose environment has none of the variables that we read.
pub fn command(program: &str) -> Command {
    let mut command = process::command(program);
    // What is kept by default is not kept in somebody's home.
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Lets programs begin with SIGHUP as in a terminal, also when these tests run under
/// `nohup`: they inherit what is ignored, but not what has a handler.
fn pass_on_no_ignored_hang_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut ignored = status.lines().filter_map(|it| it.strip_prefix("SigIgn:"));
        // Bit 0 is SIGHUP, signal 1.
        if ignored.any(|mask| mask.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f'])) {
            let flag = Arc::default();
            signal_hook::flag::register(signal_hook::consts::SIGHUP, flag).expect("a handler");
        }
    });
}

impl Process {
    /// Starts it, with nothing on standard input.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    /// Starts it with a pipe for [`Process::type_line`].
    pub fn spawn_typed(command: Command) -> Self {
        Self::spawn_with(command, Stdio::piped())
    }

    fn spawn_with(command: Command, stdin: Stdio) -> Self {
        Self::start(command, |command, log| {
            command.stdin(stdin).stdout(Stdio::piped()).stderr(log);
        })
    }

    /// Starts it with other standard streams; without a pipe for its standard
    /// output there are no lines of it here.
    pub(super) fn start(mut command: Command, streams: impl FnOnce(&mut Command, File)) -> Self {
        pass_on_no_ignored_hang_up();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("stderr");
        let name = format!("{:?} {:?}", command.get_program(), command.get_args());
        let file = File::create(&log).expect("a file for standard error");
        streams(&mut command, file);
        let mut program = Program::spawn(&mut command).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (sender, lines) = unbounded();
        if let Some(stdout) = program.child().and_then(|child| child.stdout.take()) {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            name,
            program,
            lines,
            log,
            _folder: folder,
        }
    }

    pub fn pid(&self) -> u32 {
        self.program.id().expect("a child")
    }

    /// The next line of standard output; `None` at its end. Panics when it does
    /// not come in time.
    pub fn line(&self, within: Duration) -> Option<String> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Some(line),
            Err(error) if error.is_disconnected() => None,
            Err(_) => panic!("no line within {within:?} from {}", self.name),
        }
    }

    /// The next line if it comes in time; `Ok(None)` at its end.
    pub fn try_line(&self, within: Duration) -> Result<Option<String>, RecvTimeoutError> {
        match self.lines.recv_timeout(within) {
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            line => line.map(Some),
        }
    }

    /// Reads lines until one has these words. Panics at the end, or in time.
    pub fn wait_for_line(&self, within: Duration, words: &str) {
        while let Some(line) = self.line(within) {
            if line.contains(words) {
                return;
            }
        }
        panic!("{} has ended without {words:?}", self.name);
    }

    /// Whether one of the lines that are there, or come within a moment, has
    /// these words; the lines up to it are taken.
    pub fn has_line(&self, words: &str) -> bool {
        let moment = Duration::from_millis(200);
        let mut lines = std::iter::from_fn(|| self.lines.recv_timeout(moment).ok());
        lines.any(|line| line.contains(words))
    }

    /// Writes a line to its standard input.
    pub fn type_line(&mut self, line: &str) {
        let child = self.program.child().expect("a child");
        let stdin = child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("somebody who reads");
    }

    /// All lines that are left, until it closes its standard output.
    pub fn lines(&self, within: Duration) -> Vec<String> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        std::iter::from_fn(|| self.line(left())).collect()
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the file of standard error")
    }

    /// What it writes to standard error, which can be read when it is gone too.
    pub fn open_log(&self) -> File {
        File::open(&self.log).expect("the file of standard error")
    }

    pub fn wait_for_log(&self, within: Duration, words: &str) {
        eventually(within, words, || self.log().contains(words));
    }

    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal).expect("a process to signal");
    }

    /// Stops it, and returns when none of its threads runs any more.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = |stat: &String| stat.rsplit(')').next().unwrap().starts_with(" T");
        eventually(SOON, "all threads are stopped", || {
            self.tasks("stat").iter().all(stopped)
        });
    }

    /// This file of each of its threads. Source: proc(5), /proc/PID/task.
    fn tasks(&self, file: &str) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let tasks = tasks.into_iter().flatten().filter_map(Result::ok);
        tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join(file)).ok())
            .collect()
    }

    /// How many of its threads have a name that starts so.
    pub fn threads_named(&self, prefix: &str) -> usize {
        let names = self.tasks("comm");
        names.iter().filter(|name| name.starts_with(prefix)).count()
    }

    /// Waits until so many of its threads have such a name: a thread takes its
    /// name after it has started.
    pub fn wait_for_threads(&self, prefix: &str, count: usize) {
        let what = format!("{count} threads named {prefix}");
        eventually(SOON, &what, || self.threads_named(prefix) == count);
    }

    /// The most memory that it has ever held, in bytes.
    pub fn peak_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kib.expect("a number of KiB") * 1024
    }

    pub fn is_alive(&mut self) -> bool {
        self.program.ended().is_none()
    }

    /// The exit code, or the negative number of the signal that ended it.
    pub fn wait_exit(&mut self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.program.ended() {
                return status.code().unwrap_or(-status.signal().unwrap_or(0));
            }
            assert!(
                Instant::now() < deadline,
                "not over within {within:?}: {}",
                self.name
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.program.end(Signal::KILL);
        if thread::panicking() {
            eprintln!("--- {} wrote:\n{}---", self.name, self.log());
        }
    }
}
