//! A program in a process of its own, and what the kernel says it used.

use std::io::{self, BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take until it listens. The Python bridge takes ten
/// seconds.
const START: Duration = Duration::from_secs(60);

/// How long it may take to end in order.
const END: Duration = Duration::from_secs(8);

/// A program that listens on a port of the loopback interface. It is ended when
/// this is dropped.
pub struct Program {
    child: Option<Child>,
    address: String,
}

/// How it is known that a program listens.
pub enum Ready {
    /// It writes a line that ends with its address.
    Line,
    /// This address accepts a connection.
    Port(String),
}

impl Program {
    /// Starts this very program as a server, on this port or on any (0), and
    /// returns when it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn server(port: u16, extra: &[String]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["server", "--host", "127.0.0.1", "--log-level", "error"]);
        command.args(["--port", &port.to_string()]).args(extra);
        Self::start(command, &Ready::Line)
    }

    /// Starts it, without our variables and with nothing on standard input, and
    /// returns when it listens.
    ///
    /// # Errors
    /// When it does not start, or does not listen within `START`.
    pub fn start(mut command: Command, ready: &Ready) -> io::Result<Self> {
        let set: Vec<_> = command
            .get_envs()
            .map(|(name, _)| name.to_owned())
            .collect();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MESSENGER_") && !set.contains(&name) {
                command.env_remove(name);
            }
        }
        let what = format!("{}", command.get_program().display());
        let stdout = match ready {
            Ready::Line => Stdio::piped(),
            Ready::Port(_) => Stdio::null(),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null());
        let child = child
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{what}: {e}")))?;
        let mut program = Self {
            child: Some(child),
            address: String::new(),
        };
        program.address = match ready {
            Ready::Line => program.announced()?,
            Ready::Port(address) => program.accepting(address)?,
        };
        Ok(program)
    }

    /// One that somebody else has started, and that is left running.
    pub fn foreign(address: &str) -> Self {
        Self {
            child: None,
            address: address.to_owned(),
        }
    }

    fn announced(&mut self) -> io::Result<String> {
        let stdout = self.child.as_mut().and_then(|child| child.stdout.take());
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let port = line.trim().rsplit(':').next();
        let port: Option<u16> = port.and_then(|port| port.parse().ok());
        port.map(|port| format!("127.0.0.1:{port}"))
            .ok_or_else(|| io::Error::other(format!("the program did not start: {line:?}")))
    }

    fn accepting(&mut self, address: &str) -> io::Result<String> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(how) = self.ended() {
                return Err(io::Error::other(format!("the program has ended: {how}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            // Nothing tells when another process begins to listen.
            thread::sleep(Duration::from_millis(1));
        }
        Ok(address.to_owned())
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn port(&self) -> u16 {
        let port = self.address.rsplit(':').next();
        port.and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// `None` of one that somebody else has started.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How its process has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// # Errors
    /// When it is not ours to signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = self.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the program is somebody else's"))?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended has no process id any more: it may be another's.
        if self.ended().is_none() {
            let _ = self.signal(Signal::TERM);
        }
        let deadline = Instant::now() + END;
        while self.child.is_some() && self.ended().is_none() {
            if Instant::now() > deadline {
                let _ = self.signal(Signal::KILL);
            }
            // std has no wait for a child with a time limit.
            thread::sleep(Duration::from_millis(1));
        }
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
    let mut last = Err(io::Error::from(io::ErrorKind::AddrInUse));
    for _ in 0..PORTS {
        let port = 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        last = TcpListener::bind(("0.0.0.0", port)).map(|_| port);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// How many ports [`free_port`] chooses from, from 10,000 on.
const PORTS: u16 = 20_000;

/// User and system time that a process has used so far, all its threads.
/// Source: proc(5), fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses, which may contain anything.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|f| f.parse::<u64>().ok());
    match (ticks(), ticks()) {
        (Some(user), Some(system)) => Ok(TICK * u32::try_from(user + system).unwrap_or(u32::MAX)),
        _ => Err(io::Error::other("/proc/PID/stat has another form")),
    }
}

/// What proc(5) counts in: USER_HZ is 100 on every Linux that is in use.
const TICK: Duration = Duration::from_millis(10);

/// User and system time that all processes have used so far. Source: proc(5),
/// the first three fields of /proc/stat; interrupts are not counted.
///
/// # Errors
/// When the kernel does not tell.
pub fn machine_cpu_time() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields
        .skip(1)
        .take(3)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    Ok(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// Resident memory of a process in bytes. Source: proc(5), VmRSS.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("/proc/PID/status has another form"))
}
