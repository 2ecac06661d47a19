//! The implementations that are compared, and how each is started.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::load::chat;
use super::load::process::{Program, command, messenger};
use super::load::secured::Secured;

/// Between two messages while a bridge starts.
const BETWEEN: Duration = Duration::from_millis(100);

/// Somebody's implementation of a server or a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This very program.
    Ours,
    /// The programs in `tests/reference`.
    Python,
    /// This very program, with TLS and tokens on.
    Secured,
    /// The server in `tests/peers/tonic`.
    Tonic,
    /// The C core without our threads: `messenger bench floor-server`.
    Baseline,
    /// Whatever listens there; it is neither started nor ended. Several addresses, with
    /// commas between them, are those of servers that are one chat.
    Foreign(String),
}

impl Peer {
    /// Where a foreign one listens, first the address that is used unless a check says
    /// otherwise; empty of what is started here.
    pub fn addresses(&self) -> Vec<&str> {
        match self {
            Self::Foreign(addresses) => addresses.split(',').collect(),
            _ => Vec::new(),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Ours => "Rust",
            Self::Secured => "Rust, TLS and token",
            Self::Python => "Python",
            Self::Tonic => "tonic",
            Self::Baseline => "C core",
            Self::Foreign(address) => address,
        }
    }
}

/// What it takes to start the peers; see `prepare`.
#[derive(Clone, Debug, Default)]
pub struct Toolbox {
    /// Our own program: `messenger`.
    pub messenger: PathBuf,
    /// An interpreter that has the packages and the stubs.
    pub python: PathBuf,
    /// The folder with `chat_server.py` and `chat_client.py`.
    pub scripts: PathBuf,
    /// The built tonic server.
    pub tonic: Option<PathBuf>,
}

impl Toolbox {
    /// Starts a server on this port, 0 for any, and returns when it accepts
    /// connections.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen within a minute.
    pub fn server(&self, peer: &Peer, port: u16) -> io::Result<Program> {
        let command = match peer {
            Peer::Foreign(_) => return Ok(Program::foreign(peer.addresses()[0])),
            Peer::Ours => {
                let port = port.to_string();
                return self.ours(&["server", "--host", "127.0.0.1", "--port", &port]);
            }
            Peer::Secured => {
                let secured = Secured::new(|arguments| messenger(&self.messenger, arguments))?;
                let (port, flags) = (port.to_string(), secured.flags());
                let mut server = vec!["server", "--host", "127.0.0.1", "--port", &port];
                server.extend(flags.iter().map(String::as_str));
                let mut program = self.ours(&server)?;
                program.secured = Some(Arc::new(secured));
                return Ok(program);
            }
            Peer::Baseline => {
                return self.ours(&["bench", "floor-server", "--port", &port.to_string()]);
            }
            Peer::Python => self.script("chat_server.py"),
            Peer::Tonic => {
                let tonic = self.tonic.as_ref();
                command(tonic.ok_or_else(|| io::Error::other("tonic is not built"))?)
            }
        };
        Program::start_on(command, "MESSENGER_SERVER_PORT", port)
    }

    /// Starts a bridge in front of this server, and returns when it accepts
    /// connections.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen within a minute.
    pub fn bridge(&self, peer: &Peer, server: &str) -> io::Result<Program> {
        match peer {
            Peer::Foreign(address) => Ok(Program::foreign(address)),
            Peer::Python => {
                let mut command = self.script("chat_client.py");
                command.env("MESSENGER_SERVER_ADDR", server);
                Program::start_on(command, "MESSENGER_HTTP_PORT", 0)
            }
            Peer::Ours => {
                let client = ["client", "--host", "127.0.0.1", "--http-port", "0"];
                self.ours(&[&client[..], &["--server", server]].concat())
            }
            Peer::Secured | Peer::Tonic | Peer::Baseline => {
                Err(io::Error::other("there is no such bridge"))
            }
        }
    }

    /// The same, while messages come: a Python bridge takes the first one for the
    /// sign that it is subscribed, and waits ten seconds for it. What was sent is
    /// in its postbox.
    ///
    /// # Errors
    /// As [`Self::bridge`].
    pub fn bridge_among_messages(&self, peer: &Peer, server: &str) -> io::Result<Program> {
        if *peer != Peer::Python {
            return self.bridge(peer, server);
        }
        let (started, wait) = bounded::<()>(0);
        thread::scope(|scope| {
            scope.spawn(move || {
                while wait.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                    // Whoever uses the bridge will see what is wrong with its server.
                    let _ = chat::send(&Program::foreign(server), 0, 1);
                }
            });
            // Tells the thread when this is over.
            let _started = started;
            self.bridge(peer, server)
        })
    }

    fn ours(&self, arguments: &[&str]) -> io::Result<Program> {
        Program::start(messenger(&self.messenger, arguments))
    }

    fn script(&self, name: &str) -> Command {
        let mut command = command(&self.python);
        command.arg(self.scripts.join(name));
        command
    }
}
