//! Holds a process to a share of one processor: by a cgroup of the kernel, of version 1
//! or 2, and where none may be made, by stopping it for a part of each tenth of a second.

use std::fmt;
use std::fs;
use std::io;
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
        // Writing must not make the file: then there is no such controller.
        let held = fs::OpenOptions::new().write(true).open(folder.join(file));
        let held = held.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
        let held = held.and_then(|()| fs::write(folder.join("cgroup.procs"), pid.to_string()));
        let limit = Self::Cgroup {
            folder,
            root: root.to_owned(),
            file,
            pid,
        };
        // Else it is dropped, and with it the folder.
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
                let _ = fs::write(root.join("cgroup.procs"), pid.to_string());
                let _ = fs::remove_dir(folder);
            }
            Self::Signals { thread, _over } => {
                *_over = bounded(0).0;
                let _ = thread.take().map(JoinHandle::join);
            }
        }
    }
}
