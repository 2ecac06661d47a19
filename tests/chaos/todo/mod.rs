//! The to-do list: one server with a file, clients over links that fail.

mod clients;
mod event;
mod linear;
mod planted;
mod promises;

use std::thread;

use super::disk::Disk;
use super::record::Recorder;
use super::run::{Stop, World};
use super::stage::Stage;
use super::verdict::Promise;
use crate::support::clock::{Clock, borrowed};
use crate::support::programs::{Server, free_port, messenger_with};
use clients::{Client, Last};
use event::TodoEvent;

const WRITERS: usize = 4;
const LISTERS: usize = 3;
const WATCHERS: usize = 8;

/// Enough for the write-ahead log, which SQLite lets grow to 4 MiB.
const DISK_MEBIBYTES: usize = 24;

pub struct Todo {
    /// Past all links.
    server: u16,
    ports: [u16; 3],
}

impl World for Todo {
    type Event = TodoEvent;

    const NAME: &'static str = "todo";

    fn open(_seed: u64) -> (Stage, Self) {
        let mut stage = Stage::default();
        let (server, clock) = (free_port(), Clock::new("+0"));
        let variables = clock.variables();
        let disk = Disk::new(DISK_MEBIBYTES);
        if let Some(full) = disk.fault() {
            stage.own("disk full", 1, full);
        }
        let folder = disk.path().to_str().expect("a path in UTF-8").to_owned();
        stage.restarted("server", move || {
            let _mounted = &disk;
            let port = server.to_string();
            let command = ["server", "--host", "127.0.0.1", "--port", &port];
            let arguments = [&command[..], &["--data-dir", &folder]].concat();
            Server::try_listening(messenger_with(&arguments, &borrowed(&variables)))
        });
        stage.clock(clock);
        let [a, b] = ["clients a", "clients b"].map(|name| stage.link(name, server));
        let ports = [a, b, server];
        (stage, Self { server, ports })
    }

    fn load(&self, seed: u64, recorder: &Recorder<TodoEvent>, stop: &Stop) {
        let last = Last::default();
        let client = |kind: &str, number: usize, all: usize| {
            let pen = recorder.pen(format!("{kind} {number}"));
            Client::new(seed, all, self.ports[all % self.ports.len()], pen)
        };
        thread::scope(|scope| {
            let mut all = 0..;
            let mut next = || all.next().expect("a number");
            for number in 0..WATCHERS {
                let (mut watcher, last) = (client("watcher", number, next()), &last);
                scope.spawn(move || watcher.watch(stop, last));
            }
            let mut calling = Vec::new();
            for number in 0..WRITERS {
                let mut writer = client("writer", number, next());
                calling.push(scope.spawn(move || writer.write(stop)));
            }
            for number in 0..LISTERS {
                let mut lister = client("lister", number, next());
                calling.push(scope.spawn(move || lister.look(stop)));
            }
            for client in calling {
                client.join().expect("a client");
            }
            let pen = recorder.pen("the last client");
            Client::new(seed, next(), self.server, pen).end(&last);
        });
    }

    fn promises() -> Vec<Promise<TodoEvent>> {
        promises::all()
    }
}
