//! The bridge: one server, a few bridges, clients of each over links that fail, and
//! readers and senders at the server itself, which see its order.

mod clients;
mod event;
mod http;
mod lives;
mod planted;
mod promises;

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::chat::senders::Bursts;
use super::chat::{self, SERVER};
use super::chat::{readers, senders};
use super::limits::{Limits, Names};
use super::record::{Pen, Recorder};
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::SOON;
use crate::support::clock::{Clock, borrowed};
use crate::support::programs::{Bridge as Program, Server, free_port, messenger_with};
use crate::support::rpc::client;
use clients::{Client, TAIL};
use event::BridgeEvent;

const BRIDGES: [&str; 3] = ["bridge 0", "bridge 1", "bridge 2"];
const SERVER_LINKS: [&str; 3] = ["link of bridge 0", "link of bridge 1", "link of bridge 2"];
const CLIENT_LINKS: [&str; 3] = ["clients of 0", "clients of 1", "clients of 2"];
const LIMITS: [Names; 3] = [
    Names {
        descriptors: "no descriptors for bridge 0",
        threads: "no threads for bridge 0",
    },
    Names {
        descriptors: "no descriptors for bridge 1",
        threads: "no threads for bridge 1",
    },
    Names {
        descriptors: "no descriptors for bridge 2",
        threads: "no threads for bridge 2",
    },
];

const READERS: usize = 3;
const SENDERS: usize = 2;
/// At each bridge: senders, and those that flush; one past the link and one on it. At
/// the last bridge both are past it, and calm: there nothing is in doubt.
const CLIENTS: usize = 2;

/// The seed of runs in which nothing is dropped, and no client gives up.
const QUIET: u64 = 0;

type Logs = Arc<Mutex<Vec<(usize, File)>>>;

pub struct Bridge {
    server: u16,
    /// Past the link and on it.
    bridges: Vec<[u16; CLIENTS]>,
    /// For each bridge.
    flushing: Vec<RwLock<()>>,
    logs: Logs,
}

impl World for Bridge {
    type Event = BridgeEvent;

    const NAME: &'static str = "bridge";

    fn open(seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let (server, clock, logs) = (free_port(), Clock::new("+0"), Logs::default());
        let variables = clock.variables();
        let limits = Limits::add_to(&mut stage, &chat::LIMITS);
        stage.program(SERVER, move || {
            let port = server.to_string();
            // A small backlog, so that bridges that pause are cut.
            let limit = ["--backlog-bytes", "4000000", "--backlog-messages", "2000"];
            let command = ["server", "--host", "127.0.0.1", "--port", &port];
            let arguments = [&command[..], &limit].concat();
            let program = messenger_with(&arguments, &borrowed(&variables));
            limits.started(program.pid());
            Server::listening(program, 1)
        });
        stage.clock(clock);
        let mut bridges = Vec::new();
        let count = 2 + (seed % 2) as usize;
        for bridge in 0..count {
            let port = free_port();
            let link = stage.link(SERVER_LINKS[bridge], server);
            // Small in some runs, so that messages are dropped.
            let size = match Rng::with_seed(seed ^ ((bridge as u64) << 32)).u8(..4) {
                _ if seed == QUIET || bridge + 1 == count => "100000",
                0 => "20",
                1 => "200",
                _ => "100000",
            };
            let limits = Limits::add_to(&mut stage, &LIMITS[bridge]);
            let logs = logs.clone();
            stage.program(BRIDGES[bridge], move || {
                let waits = ["--connect-wait", "1s", "--send-timeout", "1s"];
                let flags = [&waits[..], &["--postbox-messages", size]].concat();
                let program = Program::start_on(port, &format!("127.0.0.1:{link}"), &flags);
                limits.started(program.pid());
                let log = (bridge, program.open_log());
                logs.lock().expect("a list").push(log);
                program
            });
            let other = match bridge + 1 < count {
                true => stage.link(CLIENT_LINKS[bridge], port),
                false => port,
            };
            bridges.push([port, other]);
        }
        let world = Self {
            server,
            flushing: bridges.iter().map(|_| RwLock::default()).collect(),
            bridges,
            logs,
        };
        (stage, world)
    }

    fn load(&self, seed: u64, recorder: &Recorder<BridgeEvent>, stop: &Stop) {
        let last = senders::Last::default();
        let reached: Vec<_> = self
            .bridges
            .iter()
            .map(|_| AtomicBool::new(false))
            .collect();
        thread::scope(|scope| {
            for number in 0..READERS {
                let (pen, last) = (recorder.pen(format!("reader {number}")), &last);
                let port = (self.server, true);
                scope.spawn(move || readers::read(seed, number, port, pen, stop, last));
            }
            let mut sending = Vec::new();
            for number in 0..SENDERS {
                let pen = recorder.pen(format!("sender {number}"));
                sending
                    .push(scope.spawn(move || senders::send(seed, number, self.server, pen, stop)));
            }
            let pen = recorder.pen("bursts");
            sending.push(scope.spawn(move || self.burst(seed, pen, stop)));
            for (bridge, ports) in self.bridges.iter().enumerate() {
                for (number, port) in ports.iter().enumerate() {
                    let client = move || Client {
                        seed,
                        bridge,
                        number,
                        port: *port,
                        direct: *port == ports[0],
                        calm: seed == QUIET || ports[0] == ports[1],
                        others: &self.flushing[bridge],
                        stop,
                    };
                    let pen = recorder.pen(format!("sender {number} at {bridge}"));
                    sending.push(scope.spawn(move || client().send(pen)));
                    let pen = recorder.pen(format!("flusher {number} at {bridge}"));
                    let reached = &reached[bridge];
                    scope.spawn(move || client().flush(pen, reached));
                }
            }
            for sender in sending {
                sender.join().expect("a sender");
            }
            self.send_tail(&reached, recorder.pen("sender after the faults"));
            last.send(self.server, recorder.pen("the last sender"));
        });
        for (bridge, log) in &*self.logs.lock().expect("a list") {
            let mut pen = recorder.pen(format!("log of bridge {bridge}"));
            clients::note_log(*bridge, log, &mut pen);
        }
    }

    fn promises() -> Vec<Promise<BridgeEvent>> {
        promises::all()
    }
}

impl Bridge {
    /// Now and then so much that an answer with it fills what kernels take; sometimes
    /// for two flushes that are torn.
    fn burst(&self, seed: u64, mut pen: Pen<BridgeEvent>, stop: &Stop) {
        let mut rng = Rng::with_seed(seed ^ 0xb0_05);
        let mut bursts = Bursts::new(self.server, SENDERS);
        for number in 0.. {
            if stop.wait(Duration::from_millis(rng.u64(300..2_500))) {
                return;
            }
            // All but the last, whose clients are calm.
            let bridge = rng.usize(..self.bridges.len());
            if bridge + 1 == self.bridges.len() || seed == QUIET {
                bursts.send(&mut pen, stop);
            } else {
                let at = (bridge, self.bridges[bridge][0]);
                let others = &self.flushing[bridge];
                clients::tear_two(at, number, &mut pen, others, |pen| bursts.send(pen, stop));
            }
        }
    }

    /// Sends until something of it has come through each bridge.
    fn send_tail(&self, reached: &[AtomicBool], mut pen: Pen<BridgeEvent>) {
        let sender = client(&format!("127.0.0.1:{}", self.server));
        let deadline = Instant::now() + 2 * SOON;
        for message in senders::first(TAIL).. {
            let all = reached.iter().all(|it| it.load(Ordering::SeqCst));
            if all || Instant::now() > deadline {
                return;
            }
            let text = senders::text(message, 0);
            senders::attempt(&sender, "tail", message, &text, &mut pen);
            thread::sleep(Duration::from_millis(20));
        }
    }
}
