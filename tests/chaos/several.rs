//! Three chat servers on one PostgreSQL: one order over all of them, whatever happens to
//! one, or to the database. Judged by the promises of the chat, as one server.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use url::Url;

use super::chat::event::ChatEvent;
use super::chat::{keys, promises, readers, senders};
use super::history::on_postgres;
use super::record::Recorder;
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::clock::{Clock, borrowed};
use crate::support::programs::{Server, free_port, messenger_with};

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
}

impl World for Several {
    type Event = ChatEvent;

    const NAME: &'static str = "several";

    fn open(_seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let url = on_postgres(&mut stage, "messenger server");
        let mut behind = Url::parse(&url).expect("a URL");
        let database = behind.port().expect("a port");
        // The last server's clock is never stepped: between them lie hours.
        let clock = Clock::new("+0");
        let servers = SERVERS.map(|_| free_port());
        for (index, port) in servers.into_iter().enumerate() {
            let link = stage.link(DATABASE_LINKS[index], database);
            behind.set_port(Some(link)).expect("a URL with a host");
            let mut variables = if index < 2 {
                clock.variables()
            } else {
                Vec::new()
            };
            variables.push(("MESSENGER_CHAT_DATABASE_URL", behind.to_string()));
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
        (stage, Self { servers, clients })
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
    }

    fn promises() -> Vec<Promise<ChatEvent>> {
        promises::all()
    }
}
