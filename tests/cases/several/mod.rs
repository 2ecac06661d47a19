//! Several servers on one PostgreSQL are one chat.

mod balanced;
mod behaviour;
mod failover;
mod keys;
mod order;
mod outages;
mod pooler;
mod resume;
mod rolling;
mod speed;

use std::thread;

use crate::support::SOON;
use crate::support::http::{Seen, seen};
use crate::support::postgres::Database;
use crate::support::process::Process;
use crate::support::programs::{Program, Server, messenger};
use crate::support::rpc::{client, send};

/// A server on this database, on a free port.
fn server(url: &str, flags: &[&str]) -> Program {
    Server::start(&[&["--database-url", url], flags].concat())
}

/// One that does not listen yet.
fn start(url: &str, flags: &[&str]) -> Process {
    let server = ["server", "--host", "127.0.0.1", "--port", "0"];
    messenger(&[&server[..], &["--database-url", url], flags].concat())
}

/// The words of one that does not start.
fn refused(url: &str, flags: &[&str]) -> String {
    let mut server = start(url, flags);
    assert_eq!(server.wait_exit(SOON), 1, "{}", server.log());
    server.log()
}

/// Three servers on a database of their own.
fn three(flags: &[&str]) -> (Database, [Program; 3]) {
    let database = Database::new();
    let servers = [(); 3].map(|()| server(&database.url, flags));
    (database, servers)
}

/// An address where nobody answers: what listens there hears nothing.
const NOBODY: &str = "postgresql://postgres@127.0.0.1:1/none";

/// So many senders at each server send so many messages each; what they were answered, by
/// time.
fn send_at_all(servers: &[Program], senders: usize, messages: usize) -> Vec<Seen> {
    let send_all = |server: usize, sender: usize| {
        let address = servers[server].address();
        move || {
            let (client, author) = (client(&address), format!("{server}.{sender}"));
            let texts = (0..messages).map(|n| n.to_string());
            let sent = texts.map(|text| seen(&author, &text, send(&client, &author, &text)));
            sent.collect::<Vec<_>>()
        }
    };
    let places = (0..servers.len()).flat_map(|server| (0..senders).map(move |it| (server, it)));
    let mut sent: Vec<Seen> = thread::scope(|scope| {
        let running: Vec<_> = places
            .map(|(at, it)| scope.spawn(send_all(at, it)))
            .collect();
        let sent = running.into_iter().map(|it| it.join().expect("a sender"));
        sent.flatten().collect()
    });
    sent.sort_by_key(|message| message.nanos);
    let rise = sent.windows(2).all(|pair| pair[0].nanos < pair[1].nanos);
    assert!(rise, "no time is given twice");
    sent
}
