//! What is checked: a server, or a bridge and the server behind it, as processes
//! that can be asked, ended and started again.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use super::trouble::{Tried, Trouble, said};
use crate::compare::load::process::{Program, within};
use crate::compare::peer::{Peer, Toolbox};
use crate::sync::lock;

/// How long a process that broke a connection gets to be seen as ended.
const LAST_BREATH: Duration = Duration::from_millis(100);

/// The promised bound of the end.
const END: Duration = Duration::from_secs(5);

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
        let server = self.server.as_ref().map(Peer::name).unwrap_or_default();
        match &self.bridge {
            None => server.to_owned(),
            Some(bridge) if server.is_empty() => format!("{} bridge", bridge.name()),
            Some(bridge) => format!("{} bridge, {server} server", bridge.name()),
        }
    }
}

/// A program that may be ended and replaced while others look at it.
pub struct Slot {
    pub peer: Peer,
    /// Host and port, also while nobody listens there.
    pub address: String,
    pub port: u16,
    /// `None` once it was ended on purpose.
    program: Mutex<Option<Program>>,
}

impl Slot {
    /// For a program that runs, or that somebody else has started.
    pub fn new(peer: &Peer, program: Program) -> Self {
        Self {
            peer: peer.clone(),
            address: program.address().to_owned(),
            port: program.port(),
            program: Mutex::new(Some(program)),
        }
    }

    /// The address of this server of those that are one chat, which are gone through in
    /// turn.
    pub fn address_of(&self, number: usize) -> &str {
        let all = self.peer.addresses();
        let found = all.get(number % all.len().max(1));
        found.copied().unwrap_or(&self.address)
    }

    /// # Errors
    /// `Skip` if somebody else has started it.
    pub fn is_ours(&self) -> Tried {
        match self.peer {
            Peer::Foreign(_) => Err(Trouble::Skip("it was not started here".into())),
            _ => Ok(()),
        }
    }

    /// How its process has ended unasked, if it has.
    fn ended(&self) -> Option<String> {
        let status = lock(&self.program).as_mut()?.ended();
        status.map(how)
    }

    /// Asks the process to end, waits until it has, and returns how.
    ///
    /// # Errors
    /// `Skip` if it was not started here, `Hang` after the promised time.
    pub fn end(&self) -> Tried<String> {
        self.is_ours()?;
        let Some(mut program) = lock(&self.program).take() else {
            return said("it has been ended before");
        };
        let ended = program.end_within(END, Signal::TERM);
        ended.map(how).ok_or(Trouble::Hang)
    }

    /// Starts a server anew on its port; it has been ended.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&self, toolbox: &Toolbox) -> Tried {
        let program = toolbox.server(&self.peer, self.port)?;
        *lock(&self.program) = Some(program);
        Ok(())
    }
}

fn how(status: ExitStatus) -> String {
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
        let server = column.server.as_ref().map(|peer| {
            let program = toolbox.server(peer, 0)?;
            Ok::<_, io::Error>(Slot::new(peer, program))
        });
        let server = server.transpose()?;
        let bridge = column.bridge.as_ref().map(|peer| {
            let server = server.as_ref().map(|server| &*server.address);
            let program = toolbox.bridge_among_messages(peer, server.unwrap_or_default())?;
            Ok::<_, io::Error>(Slot::new(peer, program))
        });
        Ok(Self {
            toolbox: toolbox.clone(),
            bridge: bridge.transpose()?,
            server,
        })
    }

    /// How one of its processes has ended unasked, if one has.
    pub fn ended(&self) -> Option<String> {
        self.server.iter().chain(&self.bridge).find_map(Slot::ended)
    }

    /// The same, for one that may be about to end.
    pub fn ended_soon(&self) -> Option<String> {
        within(LAST_BREATH, || self.ended())
    }

    /// Ends what was started, also while a check that hangs still holds on to it.
    pub fn end(&self) {
        for slot in self.server.iter().chain(&self.bridge) {
            drop(lock(&slot.program).take());
        }
    }
}
