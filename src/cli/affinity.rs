//! CPU affinity of the threads of this process.

use rustix::thread::{CpuSet, sched_setaffinity};

use super::Error;

/// Binds this thread, and all that it starts from now on, to one processor; to be
/// called before the first one is started.
///
/// # Errors
/// A processor that is not there, or that this process may not use.
pub fn pin(cpu: u16) -> Result<(), Error> {
    let cpu = usize::from(cpu);
    let refused = |why: &str| format!("--pin-cpu {cpu}: {why}");
    if cpu >= CpuSet::MAX_CPU {
        return Err(refused("no such processor").into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    let pinned = sched_setaffinity(None, &set);
    Ok(pinned.map_err(|error| refused(&error.to_string()))?)
}
