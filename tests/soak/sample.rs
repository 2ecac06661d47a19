//! What a process holds, as the kernel says it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use procfs::process::Process;

use crate::support::{SOON, eventually};

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// Resident memory, in MiB.
    pub resident: f64,
    pub descriptors: usize,
    pub threads: usize,
}

/// A process and what was seen of it.
pub struct Series {
    pub name: &'static str,
    pid: i32,
    pub samples: Vec<Sample>,
}

impl Series {
    pub fn new(name: &'static str, pid: u32) -> Self {
        Self {
            name,
            pid: i32::try_from(pid).expect("a process id"),
            samples: Vec::new(),
        }
    }

    pub fn look(&mut self, started: Instant) {
        let mut sample = self.now();
        sample.at = started.elapsed().as_secs_f64();
        self.samples.push(sample);
    }

    fn now(&self) -> Sample {
        let process = Process::new(self.pid).and_then(|it| Ok((it.status()?, it.fd_count()?)));
        let (status, descriptors) =
            process.unwrap_or_else(|e| panic!("{} has ended: {e}", self.name));
        Sample {
            at: 0.0,
            resident: status.vmrss.unwrap_or_default() as f64 / 1024.0,
            descriptors,
            threads: usize::try_from(status.threads).expect("a number of threads"),
        }
    }
}

/// Names of the threads that the C core's pools start and end as they like; the kernel
/// keeps 15 characters.
const POOLS: [&str; 5] = [
    "default-executo",
    "event_engine",
    "grpc_global_tim",
    "resolver-execut",
    "timer_manager",
];

/// What a process holds when nobody wants anything any more.
#[derive(Clone, Debug, Default)]
pub struct Idle {
    pub resident: f64,
    pub descriptors: usize,
    /// The names of its threads, without their numbers and those of pools, and how
    /// many have each.
    pub threads: BTreeMap<String, usize>,
}

impl Idle {
    fn of(series: &Series) -> Self {
        let sample = series.now();
        let mut threads = BTreeMap::new();
        let tasks = Process::new(series.pid).and_then(|it| it.tasks());
        for task in tasks.into_iter().flatten().flatten() {
            let Ok(stat) = task.stat() else {
                continue;
            };
            if !POOLS.contains(&&*stat.comm) {
                let name = stat.comm.trim_end_matches(|c: char| c.is_ascii_digit());
                *threads.entry(name.to_owned()).or_default() += 1;
            }
        }
        Self {
            resident: sample.resident,
            descriptors: sample.descriptors,
            threads,
        }
    }
}

/// How long nothing may have changed in a process that has nothing to do.
const QUIET: Duration = Duration::from_secs(1);

/// Waits until the descriptors and threads of all have not changed for a while.
pub fn idle(all: &[Series]) -> Vec<Idle> {
    let look = || all.iter().map(Idle::of).collect::<Vec<_>>();
    let (mut last, mut since) = (look(), Instant::now());
    eventually(2 * SOON, "descriptors and threads come to rest", || {
        thread::sleep(QUIET / 20);
        let now = look();
        let same =
            |(a, b): (&Idle, &Idle)| (a.descriptors, &a.threads) == (b.descriptors, &b.threads);
        if !now.iter().zip(&last).all(same) {
            since = Instant::now();
        }
        last = now;
        since.elapsed() >= QUIET
    });
    last
}

/// All samples, for other programs.
pub fn csv(all: &[Series]) -> String {
    let mut out = "process,seconds,resident_mib,descriptors,threads\n".to_owned();
    for series in all {
        for it in &series.samples {
            let (at, resident) = (it.at, it.resident);
            let (descriptors, threads) = (it.descriptors, it.threads);
            let name = series.name;
            let _ = writeln!(out, "{name},{at:.1},{resident:.2},{descriptors},{threads}");
        }
    }
    out
}

#[test]
fn descriptors_and_memory_of_another_process_are_seen() {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "echo; read a; exec 7</dev/null 8</dev/null; echo; read b",
    ]);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    let (mut input, mut lines) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
    let mut line = [0];
    lines.read_exact(&mut line).expect("a line");
    let series = Series::new("sh", shell.id());
    let before = series.now();
    assert!(before.resident > 0.1 && before.threads == 1, "{before:?}");
    input.write_all(b"\n").expect("a shell that reads");
    lines.read_exact(&mut line).expect("a line");
    assert_eq!(series.now().descriptors, before.descriptors + 2);
    drop(input);
    shell.wait().expect("an end");
}
