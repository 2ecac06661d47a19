//! What a measurement says: operations, their latencies, and whose CPU time they
//! took.

use std::io;
use std::time::{Duration, Instant};

use super::process::{Program, cpu_time, family_cpu_time, machine_cpu_time};
use crate::latency::Latencies;

/// The outcome of one measurement.
#[derive(Clone, Debug)]
pub struct Figures {
    pub operations: u64,
    pub seconds: f64,
    pub latencies: Latencies,
    /// Of a chat: from the call to the answer, to the last reader of the server that was
    /// called, and to the last one of the others.
    pub places: Vec<Latencies>,
    /// Microseconds for each operation of the measured programs; `None` if one of
    /// them is somebody else's.
    pub server_cpu: Option<f64>,
    /// The same of what is behind them, if that is known.
    pub behind_cpu: Option<f64>,
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
    /// The measured programs, `None` if one of them is somebody else's; and what is behind
    /// them (the server of a bridge, PostgreSQL): what that one uses is neither theirs nor
    /// anybody else's.
    programs: (Option<Vec<u32>>, Option<u32>),
    /// Of both, of this process, and of the machine.
    used: [Duration; 4],
}

impl Stopwatch {
    /// `behind` is a process that has started all others of its program.
    pub fn start(servers: &[&Program], behind: Option<u32>) -> io::Result<Self> {
        let servers = servers.iter().map(|server| server.id()).collect();
        let programs = (servers, behind);
        Ok(Self {
            started: Instant::now(),
            used: used(&programs)?,
            programs,
        })
    }

    pub fn stop(&self, operations: u64, latencies: Latencies) -> io::Result<Figures> {
        let seconds = self.started.elapsed().as_secs_f64();
        let now = used(&self.programs)?;
        let [server, behind, load, machine] =
            std::array::from_fn(|i| now[i].saturating_sub(self.used[i]).as_secs_f64());
        let each = |seconds: f64| seconds * 1e6 / operations.max(1) as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let foreign = (machine - server - behind - load).max(0.0);
        Ok(Figures {
            operations,
            seconds,
            latencies,
            places: Vec::new(),
            server_cpu: self.programs.0.as_ref().map(|_| each(server)),
            behind_cpu: self.programs.1.map(|_| each(behind)),
            load_cpu: each(load),
            foreign_cpu: foreign / (seconds * cores as f64).max(1e-9),
            bytes_per_reader: None,
        })
    }
}

fn used((servers, behind): &(Option<Vec<u32>>, Option<u32>)) -> io::Result<[Duration; 4]> {
    let mut of_servers = Duration::ZERO;
    for server in servers.iter().flatten() {
        of_servers += cpu_time(*server)?;
    }
    Ok([
        of_servers,
        behind.map_or(Ok(Duration::ZERO), family_cpu_time)?,
        cpu_time(std::process::id())?,
        machine_cpu_time()?,
    ])
}
