//! Three chat servers on a PostgreSQL with a synchronous standby: one order over all of
//! them, whatever happens to one, or to the database. Judged by the promises of the chat, as
//! one server, and by what a database adds: what was answered is there in the end, whichever
//! node was promoted, and nobody is told of a gap.

mod nodes;
mod planted;
mod promises;

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use super::chat::event::ChatEvent;
use super::chat::{keys, readers, senders};
use super::record::Recorder;
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::clock::{Clock, borrowed};
use crate::support::history::Store;
use crate::support::programs::{Server, free_port, messenger_with};
use nodes::Nodes;

/// None of them is the one of [`super::chat::SERVER`]: none has an order of its own.
const SERVERS: [&str; 3] = ["server a", "server b", "server c"];
const DATABASE_LINKS: [&str; 3] = ["a to PostgreSQL", "b to PostgreSQL", "c to PostgreSQL"];
const CLIENT_LINKS: [&str; 2] = ["clients of a", "clients of b"];

const READERS: usize = 12;
const SENDERS: usize = 4;
/// Who send with keys, and again, at another server.
const KEYED: usize = 4;

/// A server that does not listen after so long lacks its database; each time in a row it
/// gets so much more, for it may be slow too.
const START: Duration = Duration::from_secs(2);

/// A small replay buffer, so that much is read from the table.
const FLAGS: [&str; 6] = [
    "--database-timeout",
    "1s",
    "--replay-messages",
    "100",
    "--backlog-bytes",
    "262144",
];

pub struct Several {
    /// Past all links.
    servers: [u16; 3],
    clients: [u16; 3],
    nodes: nodes::Shared,
}

impl World for Several {
    type Event = ChatEvent;

    const NAME: &'static str = "several";

    fn open(_seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let nodes = nodes::on_stage(&mut stage, "messenger server");
        // The last server's clock is never stepped: between them lie hours.
        let clock = Clock::new("+0");
        let servers = SERVERS.map(|_| free_port());
        for (index, port) in servers.into_iter().enumerate() {
            let ports = nodes.lock().expect("no fault yet").ports();
            let url = Nodes::url(&ports.map(|it| stage.link(DATABASE_LINKS[index], it)));
            let mut variables = if index < 2 {
                clock.variables()
            } else {
                Vec::new()
            };
            variables.push(("MESSENGER_CHAT_DATABASE_URL", url));
            let tries = Cell::new(1);
            stage.restarted(SERVERS[index], move || {
                let port = port.to_string();
                let command = ["server", "--host", "127.0.0.1", "--port", &port];
                let arguments = [&command[..], &FLAGS].concat();
                let process = messenger_with(&arguments, &borrowed(&variables));
                let program = Server::try_listening_within(process, START * tries.get());
                tries.set(program.as_ref().map_or(tries.get() + 1, |_| 1));
                program
            });
        }
        stage.clock(clock);
        let [a, b] = [0, 1].map(|index| stage.link(CLIENT_LINKS[index], servers[index]));
        let clients = [a, b, servers[2]];
        let world = Self {
            servers,
            clients,
            nodes,
        };
        (stage, world)
    }

    fn load(&self, seed: u64, recorder: &Recorder<ChatEvent>, stop: &Stop) {
        let last = &senders::Last::default();
        let ports = &self.clients;
        thread::scope(|scope| {
            for number in 0..READERS {
                let pen = recorder.pen(format!("reader {number}"));
                scope.spawn(move || {
                    readers::read_at(seed, number, (ports, false), pen, stop, last);
                });
            }
            let mut sending: Vec<_> = (0..SENDERS)
                .map(|number| {
                    let pen = recorder.pen(format!("sender {number}"));
                    let port = ports[number % ports.len()];
                    scope.spawn(move || senders::send(seed, number, port, pen, stop))
                })
                .collect();
            sending.extend((SENDERS..SENDERS + KEYED).map(|number| {
                let pen = recorder.pen(format!("sender with keys {number}"));
                scope.spawn(move || keys::send(seed, number, ports, pen, stop))
            }));
            for sender in sending {
                sender.join().expect("a sender");
            }
            last.send(self.servers[0], recorder.pen("the last sender"));
        });
        let url = self.nodes.lock().expect("no fault any more").primary();
        let table = "SELECT text, sent_at FROM chat_messages ORDER BY number";
        let rows = Store::postgres_connection(&url).query(table, &[]);
        let mut pen = recorder.pen("the table");
        for row in rows.expect("the table") {
            let (message, time) = (senders::message(row.get(0)), row.get(1));
            pen.note(ChatEvent::Stored { message, time });
        }
    }

    fn promises() -> Vec<Promise<ChatEvent>> {
        promises::all()
    }
}
