//! What the comparison ran on.

use std::process::Command;
use std::thread;

use procfs::{CpuInfo, Current as _, Meminfo};

use super::peer::{Peer, Toolbox};
use super::prepare;
use super::report::Machine;

/// Lines of a program and its version.
const PYTHON: &str = "import platform, grpc, google.protobuf as p
print('Python', platform.python_version())
print('grpcio (reference)', grpc.__version__)
print('protobuf (reference)', p.__version__)";

/// Asks the kernel and the peers. What they do not tell is left out, or "unknown".
pub fn machine(toolbox: &Toolbox, peers: &[Peer]) -> Machine {
    let mut versions = vec![("messenger".into(), env!("CARGO_PKG_VERSION").into())];
    if peers.contains(&Peer::Python) {
        let answer = Command::new(&toolbox.python).args(["-c", PYTHON]).output();
        let answer = answer.map(|answer| answer.stdout).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        let lines = answer.lines().filter_map(|line| line.rsplit_once(' '));
        versions.extend(lines.map(|(name, version)| (name.into(), version.into())));
    }
    if peers.contains(&Peer::Tonic) {
        versions.push(("tonic".into(), prepare::tonic_version().into()));
    }
    let cpu = CpuInfo::current().ok();
    let cpu = cpu.and_then(|cpu| cpu.model_name(0).map(str::to_owned));
    Machine {
        cpu: cpu.unwrap_or_else(|| "unknown".into()),
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: Meminfo::current().map_or(0, |memory| memory.mem_total),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| "unknown".into(), |release| release.trim().into()),
        versions,
    }
}
