//! A program in a process of its own, and what the kernel says it used. For
//! measurements and tests.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procfs::{CurrentSI as _, KernelStats, ProcError, process};
use rustix::process::{Pid, Signal, kill_process};

use super::secured::Secured;

/// How long a program may take until it listens. The Python bridge takes ten
/// seconds.
const START: Duration = Duration::from_secs(60);

/// How long it may take to end in order.
const END: Duration = Duration::from_secs(8);

/// A program, which mostly listens on a port of the loopback interface. It is
/// ended when this is dropped.
pub struct Program {
    child: Option<Child>,
    address: String,
    /// What a load has to have that speaks to it.
    pub secured: Option<Arc<Secured>>,
}

/// A command without the variables that our programs read.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let shared = ["AMQP_URL", "DATABASE_URL", "GRPC_TARGET"];
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("MESSENGER_") || shared.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
}

/// Our program with these arguments; it logs errors only.
pub fn messenger(program: &Path, arguments: &[&str]) -> Command {
    let mut command = command(program);
    command.args(arguments).args(["--log-level", "error"]);
    command
}

impl Program {
    /// Starts one that writes a line which ends with its port, and returns when it
    /// has: it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(command: Command) -> io::Result<Self> {
        let (mut program, mut lines) = Self::piped(command)?;
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let port = line.trim().rsplit(':').next();
        let port: Option<u16> = port.and_then(|port| port.parse().ok());
        let failed = || io::Error::other(format!("the program did not start: {line:?}"));
        program.address = format!("127.0.0.1:{}", port.ok_or_else(failed)?);
        Ok(program)
    }

    /// Starts one that takes its port from this variable, 0 for a free one, and
    /// returns when it accepts connections.
    ///
    /// # Errors
    /// When it does not start, or does not listen within `START`.
    pub fn start_on(mut command: Command, variable: &str, port: u16) -> io::Result<Self> {
        let port = if port == 0 { free_port()? } else { port };
        command.env(variable, port.to_string());
        let mut program = Self::alone(&mut command, Stdio::null())?;
        let address = format!("127.0.0.1:{port}");
        let listens = within(START, || match TcpStream::connect(&address) {
            Ok(_) => Some(Ok(())),
            Err(_) => program
                .ended()
                .map(|how| Err(io::Error::other(format!("the program has ended: {how}")))),
        });
        listens.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        program.address = address;
        Ok(program)
    }

    /// Starts it, with nothing on standard input; also returns its lines.
    ///
    /// # Errors
    /// When it does not start.
    pub fn piped(mut command: Command) -> io::Result<(Self, impl BufRead)> {
        let mut program = Self::alone(&mut command, Stdio::piped())?;
        let stdout = program.child().and_then(|child| child.stdout.take());
        let stdout = stdout.ok_or_else(|| io::Error::other("no pipe"))?;
        Ok((program, BufReader::new(stdout)))
    }

    fn alone(command: &mut Command, stdout: Stdio) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(stdout);
        Self::spawn(command.stderr(Stdio::null()))
    }

    /// Starts it with the standard streams of the command.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn().map_err(|error| {
            let what = command.get_program().display();
            io::Error::new(error.kind(), format!("{what}: {error}"))
        })?;
        Ok(Self {
            child: Some(child),
            address: String::new(),
            secured: None,
        })
    }

    /// One that somebody else has started, and that is left running.
    pub fn foreign(address: &str) -> Self {
        Self {
            child: None,
            address: address.to_owned(),
            secured: None,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn port(&self) -> u16 {
        let port = self.address.rsplit(':').next();
        port.and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// `None` of one that somebody else has started.
    pub fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// `None` of one that somebody else has started.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How its process has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child()?.try_wait().ok()?
    }

    /// # Errors
    /// When it is not ours to signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the program is somebody else's"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Sends this signal, and returns how it has ended, if it has within so long.
    pub fn end_within(&mut self, time: Duration, signal: Signal) -> Option<ExitStatus> {
        // One that has ended has no process id any more: it may be another's.
        if self.ended().is_none() {
            self.signal(signal).ok()?;
        }
        within(time, || self.ended())
    }

    /// Sends this signal, waits for the end, and kills it if that takes too long.
    pub fn end(&mut self, signal: Signal) {
        if self.end_within(END, signal).is_none()
            && let Some(child) = &mut self.child
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end(Signal::TERM);
    }
}

/// Looks until there is something, at most so long: nothing tells when another
/// process listens, and std has no wait for its end with a time limit.
pub fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        let seen = look();
        if seen.is_some() || Instant::now() > deadline {
            return seen;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A port that nobody has now, another one each time. Not one that the kernel
/// gives to outgoing connections and to those who ask for any, or somebody could
/// have it before the program that it is for.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = fastrand::u16(..PORTS);
    let _ = NEXT.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
    let next = || 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
    let mut ports = (0..PORTS).map(|_| next());
    let free = ports.find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok());
    free.ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

/// How many ports [`free_port`] chooses from, from 10,000 on.
const PORTS: u16 = 20_000;

/// User and system time that a process has used so far, all its threads, to 10 ms.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = of(pid).and_then(|process| process.stat());
    let stat = stat.map_err(io::Error::other)?;
    Ok(ticks(stat.utime + stat.stime))
}

/// The same of a process and of those that it has started: PostgreSQL has one for each
/// connection.
pub(crate) fn family_cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = i32::try_from(pid).unwrap_or(-1);
    let all = process::all_processes().map_err(io::Error::other)?;
    let stats = all.filter_map(|process| process.ok()?.stat().ok());
    let family = stats.filter(|stat| stat.pid == pid || stat.ppid == pid);
    // Also of those that have ended.
    let used = family.map(|it| it.utime + it.stime + (it.cutime + it.cstime).cast_unsigned());
    Ok(ticks(used.sum()))
}

/// The same of all processes; interrupts are not counted.
pub(crate) fn machine_cpu_time() -> io::Result<Duration> {
    let all = KernelStats::current().map_err(io::Error::other)?.total;
    Ok(ticks(all.user + all.nice + all.system))
}

/// Resident memory of a process.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = of(pid).and_then(|process| process.status());
    let resident = status.map_err(io::Error::other)?.vmrss;
    Ok(resident.unwrap_or_default() * 1024)
}

fn of(pid: u32) -> Result<process::Process, ProcError> {
    process::Process::new(i32::try_from(pid).unwrap_or(-1))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / procfs::ticks_per_second() as f64)
}
