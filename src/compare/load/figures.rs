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
    /// Of the measured program; `None` if its process is somebody else's.
    pub server_cpu: Option<Duration>,
    /// Of this process, which is the load.
    pub load_cpu: Duration,
    /// The part of the machine's CPU time that others used meanwhile, 0 to 1.
    pub foreign_cpu: f64,
    /// Resident memory that the program took for each reader, in bytes.
    pub bytes_per_reader: Option<u64>,
}

impl Figures {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds
    }

    /// Microseconds of the measured program.
    pub fn server_cpu_per_operation(&self) -> Option<f64> {
        self.server_cpu.map(|cpu| self.per_operation(cpu))
    }

    /// Microseconds of the load.
    pub fn load_cpu_per_operation(&self) -> f64 {
        self.per_operation(self.load_cpu)
    }

    fn per_operation(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }
}

/// Counters of CPU time at the start of a measurement.
pub struct Stopwatch {
    started: Instant,
    server: Option<u32>,
    behind: Option<u32>,
    cpu: Cpu,
}

#[derive(Clone, Copy)]
struct Cpu {
    server: Option<Duration>,
    behind: Option<Duration>,
    load: Duration,
    machine: Duration,
}

impl Stopwatch {
    /// # Errors
    /// When the program has ended.
    pub fn start(server: &Program) -> io::Result<Self> {
        Self::of(server.id(), None)
    }

    /// For a bridge: what the server behind it uses is neither the bridge's nor
    /// anybody else's.
    ///
    /// # Errors
    /// When one of the programs has ended.
    pub fn start_before(bridge: &Program, server: &Program) -> io::Result<Self> {
        Self::of(bridge.id(), server.id())
    }

    fn of(server: Option<u32>, behind: Option<u32>) -> io::Result<Self> {
        Ok(Self {
            started: Instant::now(),
            server,
            behind,
            cpu: Cpu::now(server, behind)?,
        })
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// # Errors
    /// When the program has ended.
    pub fn stop(&self, operations: u64, latencies: Latencies) -> io::Result<Figures> {
        let elapsed = self.started.elapsed();
        let now = Cpu::now(self.server, self.behind)?;
        let load_cpu = now.load.saturating_sub(self.cpu.load);
        let used = |now: Option<Duration>, then: Option<Duration>| {
            now.zip(then).map(|(now, then)| now.saturating_sub(then))
        };
        let server_cpu = used(now.server, self.cpu.server);
        let behind_cpu = used(now.behind, self.cpu.behind);
        let machine = now.machine.saturating_sub(self.cpu.machine);
        let ours = load_cpu + server_cpu.unwrap_or_default() + behind_cpu.unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let all = elapsed.as_secs_f64() * cores as f64;
        Ok(Figures {
            operations,
            seconds: elapsed.as_secs_f64(),
            latencies,
            server_cpu,
            load_cpu,
            foreign_cpu: machine.saturating_sub(ours).as_secs_f64() / all.max(1e-9),
            bytes_per_reader: None,
        })
    }
}

impl Cpu {
    fn now(server: Option<u32>, behind: Option<u32>) -> io::Result<Self> {
        Ok(Self {
            server: server.map(cpu_time).transpose()?,
            behind: behind.map(cpu_time).transpose()?,
            load: cpu_time(std::process::id())?,
            machine: machine_cpu_time()?,
        })
    }
}
