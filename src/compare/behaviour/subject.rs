//! What is checked: a server, or a bridge and the server behind it, as processes
//! that can be asked, ended and started again.

use std::io;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::trouble::{Trouble, said};
use crate::compare::load::process::Program;
use crate::compare::peer::{Peer, Toolbox};
use crate::sync::lock;

/// How long a process that broke a connection gets to be seen as ended.
const LAST_BREATH: Duration = Duration::from_millis(100);

/// A combination of implementations; a column of the table.
#[derive(Clone, Debug)]
pub struct Column {
    /// `None` behind a foreign bridge whose server is not known.
    pub server: Option<Peer>,
    /// `None` when the server itself is checked.
    pub bridge: Option<Peer>,
}

impl Column {
    /// What stands above the column.
    pub fn title(&self) -> String {
        let server = self.server.as_ref().map(Peer::name);
        match (&self.bridge, server) {
            (None, server) => server.unwrap_or_default().to_owned(),
            (Some(bridge), Some(server)) => format!("{} bridge, {server} server", bridge.name()),
            (Some(bridge), None) => format!("{} bridge", bridge.name()),
        }
    }
}

/// A program that may be ended and replaced while others look at it.
pub struct Slot {
    peer: Peer,
    address: String,
    /// `None` once it was ended on purpose.
    program: Mutex<Option<Program>>,
}

impl Slot {
    /// For a program that runs, or that somebody else has started.
    pub fn new(peer: &Peer, program: Program) -> Self {
        Self {
            peer: peer.clone(),
            address: program.address().to_owned(),
            program: Mutex::new(Some(program)),
        }
    }

    /// Whose program it is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Host and port, also while nobody listens there.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn program(&self) -> MutexGuard<'_, Option<Program>> {
        lock(&self.program)
    }

    /// How its process has ended unasked, if it has.
    fn ended(&self) -> Option<String> {
        let status = self.program().as_mut()?.ended();
        status.map(how)
    }

    /// Asks the process to end, waits until it has, and returns how.
    ///
    /// # Errors
    /// `Skip` if it was not started here, `Hang` at the deadline.
    pub fn end(&self, deadline: Instant) -> Result<String, Trouble> {
        if matches!(self.peer, Peer::Foreign(_)) {
            return Err(Trouble::Skip("it was not started here".into()));
        }
        let Some(mut program) = self.program().take() else {
            return said("it has been ended before");
        };
        // One that has ended has no process id any more: it may be another's.
        if program.ended().is_none() {
            program.signal(Signal::TERM)?;
        }
        loop {
            if let Some(status) = program.ended() {
                return Ok(how(status));
            }
            if Instant::now() > deadline {
                return Err(Trouble::Hang);
            }
            // std has no wait for a child with a time limit.
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Puts one that was started anew on the same address in its place.
    pub fn replace(&self, program: Program) {
        *self.program() = Some(program);
    }
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".into(),
    }
}

/// The processes of a column.
pub struct Subject {
    pub toolbox: Toolbox,
    pub server: Option<Slot>,
    pub bridge: Option<Slot>,
}

impl Subject {
    /// Starts what is to be started, and returns when all of it accepts
    /// connections. A bridge may have got messages by then.
    ///
    /// # Errors
    /// When one of the programs does not start.
    pub fn start(toolbox: &Toolbox, column: &Column) -> io::Result<Self> {
        let server = match &column.server {
            None => None,
            Some(peer) => Some(Slot::new(peer, toolbox.server(peer, 0)?)),
        };
        let bridge = match &column.bridge {
            None => None,
            Some(peer) => {
                let server = server.as_ref().map(Slot::address).unwrap_or_default();
                Some(Slot::new(
                    peer,
                    toolbox.bridge_among_messages(peer, server)?,
                ))
            }
        };
        Ok(Self {
            toolbox: toolbox.clone(),
            server,
            bridge,
        })
    }

    /// How one of its processes has ended unasked, if one has.
    pub fn ended(&self) -> Option<String> {
        let mut slots = self.server.iter().chain(&self.bridge);
        slots.find_map(Slot::ended)
    }

    /// The same, for one that may be about to end.
    pub fn ended_soon(&self) -> Option<String> {
        let deadline = Instant::now() + LAST_BREATH;
        loop {
            let ended = self.ended();
            if ended.is_some() || Instant::now() > deadline {
                return ended;
            }
            // As above, and there may be two of them.
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends what was started, also while a check that hangs still holds on to it.
    pub fn end(&self) {
        for slot in self.server.iter().chain(&self.bridge) {
            let program = slot.program().take();
            drop(program);
        }
    }
}
