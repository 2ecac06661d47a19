//! Holds a process to a share of one processor: by a cgroup of the kernel, of version 1
//! or 2, and where none may be made, by stopping it for a part of each tenth of a second.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rustix::process::{Pid, Signal, kill_process};

/// Source: Documentation/scheduler/sched-bwc.rst of Linux; its default.
const PERIOD: Duration = Duration::from_millis(100);

/// Where systems have the controller `cpu`: of version 2, and of version 1.
const ROOTS: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/cpu",
];

/// As long as this lives, the process has no more.
pub enum Limit {
    Cgroup {
        folder: PathBuf,
        root: PathBuf,
        file: &'static str,
        pid: u32,
    },
    Signals {
        _over: Sender<()>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Limit {
    pub fn hold(pid: u32, share: f64) -> Self {
        let groups = ROOTS
            .iter()
            .map(|root| Self::cgroup(Path::new(root), pid, share));
        groups
            .flatten()
            .next()
            .unwrap_or_else(|| Self::signals(pid, share))
    }

    fn cgroup(root: &Path, pid: u32, share: f64) -> io::Result<Self> {
        let folder = root.join(format!("messenger-test-{pid}"));
        fs::create_dir(&folder)?;
        let period = PERIOD.as_micros();
        let quota = PERIOD.mul_f64(share).as_micros();
        let (file, value) = match folder.join("cpu.max").exists() {
            true => ("cpu.max", format!("{quota} {period}")),
            false => ("cpu.cfs_quota_us", quota.to_string()),
        };
        let (weight, most) = match file {
            "cpu.max" => ("cpu.weight", "10000"),
            _ => ("cpu.shares", "100000"),
        };
        let procs = folder.join("cgroup.procs");
        let held = put(&folder.join(file), &value);
        // What it may have it gets, whatever else this machine does.
        let held = held.and_then(|()| put(&folder.join(weight), most));
        let held = held.and_then(|()| put(&procs, &pid.to_string()));
        let root = root.to_owned();
        let limit = Self::Cgroup {
            folder,
            root,
            file,
            pid,
        };
        // On an error this is dropped, and with it the folder.
        held.map(|()| limit)
    }

    fn signals(pid: u32, share: f64) -> Self {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        let (over, stop) = bounded::<()>(0);
        let thread = thread::spawn(move || {
            let turns = [(Signal::STOP, 1.0 - share), (Signal::CONT, share)];
            for (signal, part) in turns.into_iter().cycle() {
                let sent = kill_process(pid, signal);
                let wait = stop.recv_timeout(PERIOD.mul_f64(part));
                if sent.is_err() || wait != Err(RecvTimeoutError::Timeout) {
                    let _ = kill_process(pid, Signal::CONT);
                    return;
                }
            }
        });
        Self::Signals {
            _over: over,
            thread: Some(thread),
        }
    }
}

/// Writes to a file that is there: without the controller it is not, and none must be
/// made.
fn put(file: &Path, value: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(file)?;
    file.write_all(value.as_bytes())
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup { root, file, .. } => write!(f, "{file} below {}", root.display()),
            Self::Signals { .. } => f.write_str("SIGSTOP and SIGCONT in turn"),
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        match self {
            Self::Cgroup {
                folder, root, pid, ..
            } => {
                // A group can go when nobody is in it.
                let _ = put(&root.join("cgroup.procs"), &pid.to_string());
                let _ = fs::remove_dir(folder);
            }
            Self::Signals { thread, _over } => {
                *_over = bounded(0).0;
                let _ = thread.take().map(JoinHandle::join);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use procfs::process::Process as Seen;

    use super::*;
    use crate::support::process::{Process, command};

    /// The part of a processor that a busy process gets.
    fn share(hold: impl FnOnce(u32) -> Limit) -> f64 {
        let mut busy = command("sh");
        busy.args(["-c", "while :; do :; done"]);
        let busy = Process::spawn(busy);
        let limit = hold(busy.pid());
        let pid = i32::try_from(busy.pid()).unwrap();
        let used = || {
            let stat = Seen::new(pid).and_then(|it| it.stat()).unwrap();
            (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
        };
        let before = used();
        thread::sleep(Duration::from_secs(1));
        let used = used() - before;
        eprintln!("{limit}: {used:.2}");
        used
    }

    #[test]
    #[ignore = "judges times: make overload"]
    fn a_process_gets_its_share_and_no_more() {
        let ways: [fn(u32) -> Limit; 2] =
            [|pid| Limit::hold(pid, 0.2), |pid| Limit::signals(pid, 0.2)];
        for way in ways {
            let share = share(way);
            assert!((0.01..0.35).contains(&share), "{share}");
        }
    }
}
