//! The chat: one server, senders and readers over links that fail.

pub mod event;
pub mod keys;
mod planted;
pub mod promises;
pub mod readers;
pub mod senders;

use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::limits::{Limits, Names};
use super::record::Recorder;
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::clock::{Clock, borrowed};
use crate::support::programs::{Server, free_port, messenger_with};
use event::ChatEvent;
use senders::Bursts;

/// A small backlog, so that readers that pause are cut.
const FLAGS: [&str; 4] = ["--backlog-bytes", "65536", "--backlog-messages", "2000"];

pub const SERVER: &str = "server";

pub const LIMITS: Names = Names {
    descriptors: "no descriptors for server",
    threads: "no threads for server",
};

const READERS: usize = 20;
const PYTHON_READERS: usize = 1;
const SENDERS: usize = 6;
/// Who send with keys, and again.
const KEYED: usize = 3;

pub struct Chat {
    /// Past all links.
    server: u16,
    /// For readers and for senders, one after the other.
    readers: Vec<u16>,
    senders: Vec<u16>,
}

impl World for Chat {
    type Event = ChatEvent;

    const NAME: &'static str = "chat";

    fn open(_seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let (port, clock) = (free_port(), Clock::new("+0"));
        let variables = clock.variables();
        let limits = Limits::add_to(&mut stage, &LIMITS);
        stage.program(SERVER, move || {
            let port = port.to_string();
            let command = ["server", "--host", "127.0.0.1", "--port", &port];
            let arguments = [&command[..], &FLAGS].concat();
            let program = messenger_with(&arguments, &borrowed(&variables));
            limits.started(program.pid());
            Server::listening(program, 1)
        });
        stage.clock(clock);
        let readers = ["readers a", "readers b"].map(|name| stage.link(name, port));
        let senders = ["senders a", "senders b"].map(|name| stage.link(name, port));
        let world = Self {
            server: port,
            readers: [&readers[..], &[port]].concat(),
            senders: [&senders[..], &[port]].concat(),
        };
        (stage, world)
    }

    fn load(&self, seed: u64, recorder: &Recorder<ChatEvent>, stop: &Stop) {
        let last = senders::Last::default();
        thread::scope(|scope| {
            for number in 0..READERS {
                let port = self.readers[number % self.readers.len()];
                let port = (port, port == self.server);
                let (pen, last) = (recorder.pen(format!("reader {number}")), &last);
                scope.spawn(move || readers::read(seed, number, port, pen, stop, last));
            }
            for number in 0..PYTHON_READERS {
                let port = (self.readers[number % self.readers.len()], false);
                let (pen, last) = (recorder.pen(format!("python reader {number}")), &last);
                scope.spawn(move || readers::read_with_python(seed, number, port, pen, stop, last));
            }
            let mut sending: Vec<_> = (0..SENDERS)
                .map(|number| {
                    let port = self.senders[number % self.senders.len()];
                    let pen = recorder.pen(format!("sender {number}"));
                    scope.spawn(move || senders::send(seed, number, port, pen, stop))
                })
                .collect();
            sending.extend((0..KEYED).map(|number| {
                let port = self.senders[number % self.senders.len()];
                let pen = recorder.pen(format!("sender with keys {number}"));
                let number = SENDERS + 1 + number;
                scope.spawn(move || keys::send(seed, number, &[port], pen, stop))
            }));
            let mut pen = recorder.pen("bursts");
            sending.push(scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                let mut bursts = Bursts::new(self.server, SENDERS);
                while !stop.wait(Duration::from_millis(rng.u64(..2_000))) {
                    bursts.send(&mut pen, stop);
                }
            }));
            for sender in sending {
                sender.join().expect("a sender");
            }
            last.send(self.server, recorder.pen("the last sender"));
        });
    }

    fn promises() -> Vec<Promise<ChatEvent>> {
        promises::all()
    }
}
