//! What a measurement says: operations, their latencies, and whose CPU time they
//! took.

use std::io;
use std::time::{Duration, Instant};

use super::process::{Program, cpu_time, machine_cpu_time};
use crate::latency::Latencies;

/// The outcome of one measurement.
#[derive(Clone, Debug)]
pub struct Figures {
    pub operations: u64,
    pub seconds: f64,
    pub latencies: Latencies,
    /// Microseconds for each operation of the measured program; `None` if its
    /// process is somebody else's.
    pub server_cpu: Option<f64>,
    /// The same of this process, which is the load.
    pub load_cpu: f64,
    /// The part of the machine's CPU time that others used meanwhile, 0 to 1.
    pub foreign_cpu: f64,
    /// Resident memory that the program took for each reader, in bytes.
    pub bytes_per_reader: Option<u64>,
}

impl Figures {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// Counters of CPU time at the start of a measurement.
pub struct Stopwatch {
    started: Instant,
    /// The measured program, and the server behind it if that is a bridge: what
    /// that one uses is neither the bridge's nor anybody else's.
    programs: [Option<u32>; 2],
    /// Of both, of this process, and of the machine.
    used: [Duration; 4],
}

impl Stopwatch {
    pub fn start(server: &Program, behind: Option<&Program>) -> io::Result<Self> {
        let programs = [server.id(), behind.and_then(Program::id)];
        Ok(Self {
            started: Instant::now(),
            programs,
            used: used(programs)?,
        })
    }

    pub fn stop(&self, operations: u64, latencies: Latencies) -> io::Result<Figures> {
        let seconds = self.started.elapsed().as_secs_f64();
        let now = used(self.programs)?;
        let [server, behind, load, machine] =
            std::array::from_fn(|i| now[i].saturating_sub(self.used[i]).as_secs_f64());
        let each = |seconds: f64| seconds * 1e6 / operations.max(1) as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let foreign = (machine - server - behind - load).max(0.0);
        Ok(Figures {
            operations,
            seconds,
            latencies,
            server_cpu: self.programs[0].map(|_| each(server)),
            load_cpu: each(load),
            foreign_cpu: foreign / (seconds * cores as f64).max(1e-9),
            bytes_per_reader: None,
        })
    }
}

fn used([server, behind]: [Option<u32>; 2]) -> io::Result<[Duration; 4]> {
    let of = |program: Option<u32>| program.map_or(Ok(Duration::ZERO), cpu_time);
    Ok([
        of(server)?,
        of(behind)?,
        cpu_time(std::process::id())?,
        machine_cpu_time()?,
    ])
}
