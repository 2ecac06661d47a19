//! Our programs and the Python programs, started on free ports and waited for.

use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::certificates::Pair;
use super::process::{Process, command};
use super::rpc::{client, send};
use super::terminal::Terminal;
use super::{SOON, eventually, need};

const MESSENGER: &str = env!("CARGO_BIN_EXE_messenger");

/// Something that listens on a port of the loopback interface.
pub struct Program {
    process: Process,
    metrics: Option<u16>,
    ports: Vec<u16>,
}

impl Program {
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The port for metrics, of one that was started with `--metrics-port 0`.
    pub fn metrics_port(&self) -> u16 {
        self.metrics.expect("a port for metrics")
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Waits for so many lines that start so and end with a port.
    fn announced(process: Process, start: &str, lines: usize) -> Self {
        let announced = Self::try_announced(process, start, lines, SOON);
        announced.unwrap_or_else(|process| panic!("it says nothing; log: {}", process.log()))
    }

    /// It has ended in order, with an error, or still waits.
    fn gave_up(process: &mut Process) {
        let is_fine = process.is_alive() || process.wait_exit(SOON) == 1;
        assert!(is_fine, "{}", process.log());
    }

    /// The process that ended, or said nothing in time.
    fn try_announced(
        process: Process,
        start: &str,
        lines: usize,
        within: Duration,
    ) -> Result<Self, Box<Process>> {
        let Ok(Some(mut line)) = process.try_line(within) else {
            return Err(Box::new(process));
        };
        let metrics = port_in(&line, METRICS);
        if metrics.is_some() {
            line = process.line(SOON).unwrap_or_default();
        }
        let mut ports = Vec::new();
        loop {
            let line_of_plain = line.replacen(" https://", " http://", 1);
            match port_in(&line_of_plain, start) {
                Some(0) | None => panic!("no port in {line:?}; log: {}", process.log()),
                Some(port) => ports.push(port),
            }
            if ports.len() == lines {
                break;
            }
            line = process.line(SOON).unwrap_or_default();
        }
        Ok(Self {
            process,
            metrics,
            ports,
        })
    }
}

const METRICS: &str = "messenger metrics listening on http://";

/// The port for metrics of a process that has no other port.
pub fn metrics_port(process: &Process) -> u16 {
    let line = process.line(SOON).unwrap_or_default();
    port_in(&line, METRICS).unwrap_or_else(|| panic!("no port for metrics in {line:?}"))
}

impl Deref for Program {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A `messenger` command with these arguments.
pub fn messenger(arguments: &[&str]) -> Process {
    messenger_with(arguments, &[])
}

pub fn messenger_with(arguments: &[&str], variables: &[(&str, &str)]) -> Process {
    let mut command = command(MESSENGER);
    command.args(arguments).envs(variables.iter().copied());
    Process::spawn(command)
}

pub struct Server;

impl Server {
    /// `messenger server` on a free port.
    pub fn start(flags: &[&str]) -> Program {
        Self::start_on(0, flags)
    }

    pub fn start_on(port: u16, flags: &[&str]) -> Program {
        let port = port.to_string();
        let mut arguments = vec!["server", "--host", "127.0.0.1", "--port", &port];
        arguments.extend(flags);
        let also = flags.iter().filter(|flag| **flag == "--also-port").count();
        Self::listening(messenger(&arguments), 1 + also)
    }

    /// Waits for so many lines that each name a port.
    pub fn listening(process: Process, lines: usize) -> Program {
        Program::announced(process, "messenger server listening on ", lines)
    }

    /// The same for one that may end at once instead.
    pub fn try_listening(process: Process) -> Option<Program> {
        Self::try_listening_within(process, SOON)
    }

    /// The same; one that says nothing for so long is killed.
    pub fn try_listening_within(process: Process, within: Duration) -> Option<Program> {
        let start = "messenger server listening on ";
        let announced = Program::try_announced(process, start, 1, within);
        announced.map_err(|mut it| Program::gave_up(&mut it)).ok()
    }
}

pub struct Log;

impl Log {
    /// A replica of `messenger history serve`, on a free port unless a flag says
    /// which; does not wait until it listens.
    pub fn spawn(arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let command = ["history", "serve", "--host", "127.0.0.1"];
        let port: &[&str] = match arguments.contains(&"--http-port") {
            true => &[],
            false => &["--http-port", "0"],
        };
        messenger_with(&[&command, port, arguments].concat(), variables)
    }

    /// `messenger history migrate`
    pub fn migrate(url: &str) -> Process {
        messenger_with(&["history", "migrate"], &[("DATABASE_URL", url)])
    }

    pub fn listening(process: Process) -> Program {
        Program::announced(process, "messenger history listening on http://", 1)
    }

    /// The same for one that may end instead, or is killed after so long.
    pub fn try_listening(process: Process, within: Duration) -> Option<Program> {
        let start = "messenger history listening on http://";
        let announced = Program::try_announced(process, start, 1, within);
        announced.map_err(|mut it| Program::gave_up(&mut it)).ok()
    }
}

pub struct Bridge;

impl Bridge {
    /// One whose standard error is a pipe that nobody reads. It takes 64 KiB.
    pub fn start_unread(server: &str, flags: &[&str]) -> Program {
        let mut shell = command("sh");
        let run = "pipe=$(mktemp -u) && mkfifo \"$pipe\" && exec 3<>\"$pipe\" && rm \"$pipe\" && \
                   exec \"$0\" client --host 127.0.0.1 --http-port 0 \"$@\" 2>&3";
        shell
            .args(["-c", run, MESSENGER, "--server", server])
            .args(flags);
        let process = Process::spawn(shell);
        Program::announced(process, "messenger client listening on http://", 1)
    }

    /// `messenger client` on a free port.
    pub fn start(server: &str, flags: &[&str]) -> Program {
        Self::start_on(0, server, flags)
    }

    pub fn start_on(port: u16, server: &str, flags: &[&str]) -> Program {
        let process = Self::spawn(server, port, flags);
        Program::announced(process, "messenger client listening on http://", 1)
    }

    /// `messenger client --step` at a terminal of its own, and its port.
    pub fn step(server: &str, flags: &[&str]) -> (Terminal, u16) {
        let arguments = [
            "client",
            "--step",
            "--host",
            "127.0.0.1",
            "--http-port",
            "0",
        ];
        // A session of its own, so that Ctrl-C is typed and not sent.
        let mut session = command("setsid");
        session.args(["--ctty", MESSENGER]).args(arguments);
        session.args(["--server", server]).args(flags);
        let mut terminal = Terminal::spawn(session);
        terminal.wait_for("messenger client listening on http://127.0.0.1:");
        let port = terminal.wait_for("\r\n").trim().parse();
        (terminal, port.expect("a port"))
    }

    /// Does not wait until it listens.
    pub fn spawn(server: &str, port: u16, flags: &[&str]) -> Process {
        let port = port.to_string();
        let mut arguments = vec!["client", "--host", "127.0.0.1"];
        arguments.extend(["--server", server, "--http-port", &port]);
        arguments.extend(flags);
        messenger(&arguments)
    }
}

pub struct Console;

impl Console {
    /// `messenger web` on a free port.
    pub fn start(server: &str, flags: &[&str]) -> Program {
        Self::start_on(0, server, flags)
    }

    pub fn start_on(port: u16, server: &str, flags: &[&str]) -> Program {
        let port = port.to_string();
        let mut arguments = vec!["web", "--server", server, "--http-port", &port];
        arguments.extend(flags);
        let process = messenger(&arguments);
        Program::announced(process, "messenger web listening on http://", 1)
    }
}

/// The interpreter that has the packages and the stubs.
pub fn python() -> PathBuf {
    let venv = Path::new(MESSENGER).parent().and_then(Path::parent);
    let default = venv.expect("a target folder").join("venv/bin/python");
    let python = std::env::var_os("MESSENGER_TEST_PYTHON").map_or(default, PathBuf::from);
    need(
        &format!("Python environment ({})", python.display()),
        python.exists(),
    );
    python
}

/// The Python programs of `tests/reference`.
pub struct Python;

impl Python {
    pub fn server() -> Program {
        let port = free_port();
        Self::listening(
            "chat_server.py",
            port,
            &[("MESSENGER_SERVER_PORT", &port.to_string())],
        )
    }

    /// Messages come while it starts, or it would wait ten seconds for one.
    pub fn bridge(server: &str) -> Program {
        let port = free_port();
        let variables = [
            ("MESSENGER_SERVER_ADDR", server),
            ("MESSENGER_HTTP_PORT", &port.to_string()),
        ];
        let (started, wait) = crossbeam_channel::bounded::<()>(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                let sender = client(server);
                let over = Err(RecvTimeoutError::Disconnected);
                while wait.recv_timeout(Duration::from_millis(100)) != over {
                    send(&sender, "", "starting");
                }
            });
            // Dropped here also by a panic, which the scope would not end.
            let _started = started;
            Self::listening("chat_client.py", port, &variables)
        })
    }

    /// `reader.py` with these arguments: a plain gRPC client.
    pub fn reader(arguments: &[&str]) -> Process {
        Self::spawn("reader.py", arguments, &[])
    }

    /// The chat server with this certificate.
    pub fn tls_server(pair: &Pair) -> Program {
        let port = free_port();
        let (certificate, key) = pair.paths();
        let variables = [
            ("MESSENGER_SERVER_PORT", &*port.to_string()),
            ("TLS_CERT", certificate),
            ("TLS_KEY", key),
        ];
        Self::listening("tls_server.py", port, &variables)
    }

    /// A chat server whose answers have initial metadata, and details on "fail".
    pub fn metadata_server() -> Program {
        let port = free_port();
        let variables = [("MESSENGER_SERVER_PORT", &*port.to_string())];
        Self::listening("metadata_server.py", port, &variables)
    }

    pub fn todo_server() -> Program {
        let port = free_port();
        let variables = [("MESSENGER_SERVER_PORT", &*port.to_string())];
        Self::listening("todo_server.py", port, &variables)
    }

    /// Serves one symbol after the other, with so many seconds between updates.
    pub fn ticker_server(interval: &str) -> Program {
        let port = free_port();
        let variables = [
            ("MESSENGER_SERVER_PORT", &*port.to_string()),
            ("TICKER_INTERVAL", interval),
        ];
        Self::listening("ticker_server.py", port, &variables)
    }

    /// The ticker's client, with so many seconds between its requests.
    pub fn ticker_client(server: &str, gap: &str, symbols: &[&str]) -> Process {
        let variables = [("MESSENGER_SERVER_ADDR", server), ("TICKER_GAP", gap)];
        Self::spawn("ticker_client.py", symbols, &variables)
    }

    /// The to-do list's client: a menu, so it has a terminal.
    pub fn todo_client(server: &str) -> Terminal {
        let variables = [("MESSENGER_SERVER_ADDR", server)];
        Terminal::spawn(Self::command("todo_client.py", &[], &variables))
    }

    fn listening(script: &str, port: u16, variables: &[(&str, &str)]) -> Program {
        let mut process = Self::spawn(script, &[], variables);
        let what = format!("{script} accepts connections");
        eventually(Duration::from_secs(60), &what, || {
            assert!(process.is_alive(), "{script} has ended");
            accepts(port)
        });
        Program {
            process,
            metrics: None,
            ports: vec![port],
        }
    }

    pub fn spawn(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        Process::spawn(Self::command(script, arguments, variables))
    }

    /// With a pipe for [`Process::type_line`].
    pub fn typed(script: &str, arguments: &[&str]) -> Process {
        Process::spawn_typed(Self::command(script, arguments, &[]))
    }

    fn command(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let python = python();
        let mut command = command(&python.to_string_lossy());
        command.arg("-u");
        command.arg(Path::new("tests/reference").join(script));
        command.args(arguments).envs(variables.iter().copied());
        command
    }
}

/// `messenger tail --json` whose subscription is live.
pub fn tail(server: &str, flags: &[&str]) -> Process {
    let arguments = ["tail", "--server", server, "--json"];
    let process = messenger(&[&arguments, flags].concat());
    process.wait_for_log(SOON, "subscribed to");
    process
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    messenger::compare::load::process::free_port().expect("a free port")
}

pub fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The port at the end of a line that starts so.
fn port_in(line: &str, start: &str) -> Option<u16> {
    line.strip_prefix(start)?.rsplit(':').next()?.parse().ok()
}
