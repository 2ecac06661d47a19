//! What the comparison ran on.

use std::fs;
use std::process::Command;
use std::thread;

use super::peer::{Peer, Toolbox};
use super::prepare;
use super::report::Machine;

/// Asks the kernel and the peers. What they do not tell is "unknown".
pub fn machine(toolbox: &Toolbox, peers: &[Peer]) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map(|(_, value)| value.trim().to_owned())
    };
    let kib = field(&memory, "MemTotal").and_then(|value| {
        let number = value.split_whitespace().next()?;
        number.parse::<u64>().ok()
    });
    let mut versions = vec![("messenger".into(), env!("CARGO_PKG_VERSION").into())];
    for peer in peers {
        match peer {
            Peer::Python => versions.extend(python(toolbox)),
            Peer::Tonic => versions.push(("tonic".into(), prepare::tonic_version().into())),
            Peer::Ours | Peer::Baseline | Peer::Foreign(_) => {}
        }
    }
    Machine {
        cpu: field(&cpus, "model name").unwrap_or_else(|| "unknown".into()),
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: kib.unwrap_or_default() * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        versions,
    }
}

fn python(toolbox: &Toolbox) -> Vec<(String, String)> {
    const ASK: &str = "import platform, grpc, google.protobuf as p
print('Python', platform.python_version())
print('grpcio', grpc.__version__)
print('protobuf', p.__version__)";
    let answer = Command::new(&toolbox.python).args(["-c", ASK]).output();
    let answer = answer.map(|answer| answer.stdout).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    let lines = answer.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, version)| {
            (
                format!("{name} (reference)").replace("Python (reference)", "Python"),
                version.to_owned(),
            )
        })
        .collect()
}
