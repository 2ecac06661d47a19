//! A PostgreSQL of one's own: a private cluster on a free port of the loopback
//! interface, in a temporary folder. For measurements and tests.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal, kill_process};

use super::process::free_port;

/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps PostgreSQL only as long as its own standard input is open, which the
/// kernel closes when our process ends, however it ends.
const GUARD: &str = r#"exec 3<&0; "$@" 3<&- </dev/null & server=$!; echo $server
cat <&3 >/dev/null; kill -QUIT $server; wait $server"#;

/// A running cluster. It is stopped and removed when this is dropped.
pub struct Cluster {
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    variables: Vec<(String, String)>,
    /// The guard, and the server itself.
    running: Option<(Child, Pid)>,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Makes a cluster and starts it, with these variables in its environment.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(variables: &[(&str, &str)]) -> io::Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new()
            .prefix("messenger-postgres-")
            .tempdir()?;
        // PostgreSQL refuses to run as root.
        let owner = if rustix::process::geteuid().is_root() {
            let owner = account("postgres").or_else(|| account("nobody"));
            let owner = owner.ok_or_else(|| io::Error::other("no user to run PostgreSQL as"))?;
            std::os::unix::fs::chown(folder.path(), Some(owner.0), Some(owner.1))?;
            Some(owner)
        } else {
            None
        };
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let mut cluster = Self {
            programs,
            owner,
            port: free_port()?,
            variables: variables.iter().map(owned).collect(),
            running: None,
            folder,
        };
        let made = cluster
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "--pgdata"])
            .arg(cluster.data())
            .output()?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(io::Error::other(format!("initdb: {said}")));
        }
        cluster.run()?;
        Ok(cluster)
    }

    /// The address of this database, which may be yet to be made.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and returns its address.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn create(&self, database: &str) -> Result<String, postgres::Error> {
        create(&self.url("postgres"), database)?;
        Ok(self.url(database))
    }

    /// Ends the server with this signal (`TERM` waits for its clients, `INT`
    /// ends their connections, `QUIT` is a crash), and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self, signal: Signal) -> io::Result<()> {
        let Some((mut guard, server)) = self.running.take() else {
            return Ok(());
        };
        kill_process(server, signal)?;
        let deadline = Instant::now() + PATIENCE;
        // The guard reaps the server, and is kept from it by its own input only.
        while is_alive(server) {
            if Instant::now() > deadline {
                let _ = kill_process(server, Signal::QUIT);
                drop(guard.stdin.take());
                let _ = guard.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        drop(guard.stdin.take());
        guard.wait().map(drop)
    }

    /// Starts the server again after [`Cluster::stop`], on the same port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&mut self) -> io::Result<()> {
        let log = std::fs::File::create(self.log())?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]);
        command.arg(self.programs.join("postgres"));
        command.arg("-D").arg(self.data());
        command.args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        command.args([
            "-c",
            "unix_socket_directories=",
            "-c",
            "max_connections=200",
        ]);
        self.prepare(&mut command);
        let mut guard = command
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line)?;
        }
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let server = server.ok_or_else(|| io::Error::other("the guard did not start"))?;
        self.running = Some((guard, server));
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = Client::connect(&self.url("postgres"), NoTls) {
            if !is_alive(server) || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                let what = format!("PostgreSQL does not start: {error}\n{log}");
                return Err(io::Error::other(what));
            }
            // Nothing tells when it begins to take connections.
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// One of PostgreSQL's programs, run by the cluster's owner.
    pub fn command(&self, program: &str) -> Command {
        // Some have links to the server's programs only in the PATH.
        let beside = Some(self.programs.join(program)).filter(|beside| beside.exists());
        let mut command = Command::new(beside.unwrap_or_else(|| program.into()));
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        // A folder that the owner may enter.
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop(Signal::QUIT);
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url("postgres"))
    }
}

/// Makes an empty database on the server of this address.
///
/// # Errors
/// What PostgreSQL says.
pub fn create(url: &str, database: &str) -> Result<(), postgres::Error> {
    Client::connect(url, NoTls)?.batch_execute(&format!("CREATE DATABASE \"{database}\""))
}

/// Where initdb and postgres are: in the PATH, or where Debian puts them.
fn programs() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.filter_map(Result::ok).map(|v| v.path()).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        folders.extend(versions.iter().map(|version| version.join("bin")));
    }
    let has = |folder: &&PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|p| folder.join(p).exists())
    };
    let found = folders.iter().find(has).cloned();
    found
        .ok_or_else(|| io::Error::other("PostgreSQL is not installed (apt-get install postgresql)"))
}

/// User and group of this name. Source: passwd(5).
fn account(name: &str) -> Option<(u32, u32)> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let mut number = |skip| fields.nth(skip)?.parse().ok();
        Some((number(1)?, number(0)?)).filter(|_| found)
    })
}

/// A zombie is not.
fn is_alive(process: Pid) -> bool {
    let file = Path::new("/proc")
        .join(process.as_raw_nonzero().to_string())
        .join("stat");
    let stat = std::fs::read_to_string(file).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}
