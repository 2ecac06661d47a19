//! Steady load in which everybody comes and goes: who reads leaves in order, by
//! cancelling, or without a word.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use messenger::http::client::Client;
use messenger::ticker::client::TickerClient;
use messenger::todo::client::TodoClient;

use super::world::World;
use crate::support::SOON;
use crate::support::h2::{RST_STREAM, Wire};
use crate::support::rpc::{SETTLE, client, connection};

const READ: &str = "/mes_grpc.MessengerServer/ReadMessages";

type Done = Result<(), Box<dyn Error>>;

/// What was done, by name; shared by those who do it.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<&'static str, Turns>>>);

#[derive(Default)]
struct Turns {
    done: u64,
    failed: u64,
    first_failure: Option<String>,
}

impl Tally {
    fn count(&self, name: &'static str, done: &Done) {
        let mut all = self.0.lock().expect("no panic");
        let turns = all.entry(name).or_default();
        turns.done += 1;
        if let Err(error) = done {
            turns.failed += 1;
            turns.first_failure.get_or_insert_with(|| error.to_string());
        }
    }

    /// Everything was done, and nothing failed.
    pub fn check(&self) {
        let all = self.0.lock().expect("no panic");
        for (name, turns) in &*all {
            assert!(turns.done > 0, "nobody {name}");
            let why = &turns.first_failure;
            assert!(why.is_none(), "{name}: {} failed: {why:?}", turns.failed);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("| load | times | failed |\n|---|---|---|\n")?;
        for (name, turns) in &*self.0.lock().expect("no panic") {
            writeln!(f, "| {name} | {} | {} |", turns.done, turns.failed)?;
        }
        Ok(())
    }
}

/// Threads that do one thing again and again, until this is dropped: first those who
/// receive, while there is still something that ends their waiting.
pub struct Load {
    receivers: Group,
    senders: Group,
}

struct Group {
    tally: Tally,
    over: Option<Sender<()>>,
    stop: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Group {
    fn new(tally: &Tally) -> Self {
        let (over, stop) = bounded(0);
        Self {
            tally: tally.clone(),
            over: Some(over),
            stop,
            threads: Vec::new(),
        }
    }

    /// Takes a turn, and waits so long before the next one.
    fn each(
        &mut self,
        pause: Duration,
        name: &'static str,
        mut turn: impl FnMut() -> Done + Send + 'static,
    ) {
        let (tally, stop) = (self.tally.clone(), self.stop.clone());
        self.threads.push(thread::spawn(move || {
            while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                tally.count(name, &turn());
            }
        }));
    }

    fn end(&mut self) {
        drop(self.over.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.tally
                    .count("go on", &Err("a client has panicked".into()));
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.receivers.end();
        self.senders.end();
    }
}

impl Load {
    pub fn start(world: &World, tally: &Tally) -> Self {
        let (mut receivers, mut senders) = (Group::new(tally), Group::new(tally));
        chat(world, &mut receivers, &mut senders);
        bridges(world, &mut senders);
        tasks(world, &mut receivers, &mut senders);
        log(world, &mut receivers, &mut senders);
        let address = world.server.address();
        for _ in 0..2 {
            let address = address.clone();
            receivers.each(MOMENT, "follow prices", move || follow_prices(&address));
            let console = world.console.address();
            receivers.each(MOMENT, "open a page", move || follow(&console));
        }
        let desk = world.jobs.desk();
        senders.each(MOMENT, "send jobs", move || {
            let tasks = ["fact:6", "user42", "freq:hello", "text to process"];
            desk.send(&tasks.map(String::from), SOON)?;
            Ok(())
        });
        Self { receivers, senders }
    }
}

const MOMENT: Duration = Duration::from_millis(250);

/// When whoever comes now leaves.
fn a_while() -> Instant {
    Instant::now() + Duration::from_millis(fastrand::u64(50..1000))
}

fn chat(world: &World, receivers: &mut Group, senders: &mut Group) {
    let sender = client(&world.server.address());
    let text = "x".repeat(100);
    senders.each(Duration::from_millis(20), "send a message", move || {
        sender.send("soak", &text, SOON)?;
        Ok(())
    });
    for _ in 0..8 {
        let address = world.server.address();
        receivers.each(Duration::ZERO, "read for a while", move || {
            let client = client(&address);
            let (mut stream, _) = client.subscribe(SOON, SETTLE)?;
            let until = a_while();
            while Instant::now() < until {
                stream.recv()?;
            }
            Ok(())
        });
    }
    for _ in 0..2 {
        let address = world.server.address();
        receivers.each(MOMENT / 5, "read and vanish", move || vanish(&address));
    }
    // One who stays.
    let (address, mut stays) = (world.server.address(), None);
    receivers.each(Duration::ZERO, "receive a message for good", move || {
        if stays.is_none() {
            let client = client(&address);
            stays = Some((client.subscribe(SOON, SETTLE)?.0, client));
        }
        let (stream, _) = stays.as_mut().expect("a stream");
        stream.recv()?;
        Ok(())
    });
}

/// Opens a stream as whole or half as one may, and drops the connection.
fn vanish(address: &str) -> Done {
    let mut wire = Wire::try_open(address)?;
    match fastrand::u8(..4) {
        0 => wire.whole(1, READ, &[]),
        // Never half-closed.
        1 => {
            wire.call(1, READ);
            wire.message(1, &[], 0);
        }
        // Without the message.
        2 => wire.call(1, READ),
        _ => {
            wire.whole(1, READ, &[]);
            wire.whole(3, READ, &[]);
            wire.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        }
    }
    wire.try_flush()?;
    for _ in 0..fastrand::u8(..10) {
        wire.next(MOMENT / 5);
    }
    Ok(())
}

fn bridges(world: &World, senders: &mut Group) {
    let body = format!(r#"{{"author":"soak","text":"{}"}}"#, "y".repeat(100));
    for bridge in &world.bridges {
        let mut kept = Client::new(&bridge.address(), None);
        let text = body.clone();
        senders.each(MOMENT / 5, "send and flush", move || {
            send_and_flush(&mut kept, &text)
        });
        let (address, text) = (bridge.address(), body.clone());
        senders.each(
            MOMENT / 2,
            "send and flush on a new connection",
            move || send_and_flush(&mut Client::new(&address, None), &text),
        );
        let address = bridge.address();
        senders.each(MOMENT / 2, "leave before a flush is answered", move || {
            let mut socket = TcpStream::connect(&address)?;
            let request = "POST /getAndFlushMessages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
            socket.write_all(request.as_bytes())?;
            Ok(())
        });
    }
}

fn send_and_flush(client: &mut Client, body: &str) -> Done {
    client.post("/sendMessage", body)?;
    client.post("/getAndFlushMessages", "")?;
    Ok(())
}

/// So many are added one after the other; then fewer.
const MANY_TASKS: u32 = 300;

fn tasks(world: &World, receivers: &mut Group, senders: &mut Group) {
    let todo = || TodoClient::over(connection(&world.server.address()), SOON);
    let writer = todo();
    let mut turn = 0;
    senders.each(4 * MOMENT, "add and complete a task", move || {
        turn += 1;
        // The list grows, and with it what everybody holds who shows it: slowly.
        if turn < MANY_TASKS || turn % 16 == 0 {
            let task = writer.add("to be done")?;
            writer.complete(task.id)?;
        }
        Ok(())
    });
    for _ in 0..2 {
        let watcher = todo();
        receivers.each(Duration::ZERO, "watch tasks", move || {
            let (mut stream, _) = watcher.watch(SETTLE)?;
            stream.recv()?;
            Ok(())
        });
    }
    let lister = todo();
    senders.each(4 * MOMENT, "list all tasks", move || {
        lister.list()?;
        Ok(())
    });
}

fn follow_prices(address: &str) -> Done {
    let client = TickerClient::over(connection(address), SOON);
    let (mut requests, mut stream) = client.open()?;
    for symbol in ["AAPL", "GOOGL", "MSFT"] {
        requests.ask(symbol)?;
    }
    if fastrand::bool() {
        requests.close()?;
        while stream.recv()?.is_some() {}
    } else {
        stream.recv()?;
        stream.recv()?;
    }
    Ok(())
}

fn log(world: &World, receivers: &mut Group, senders: &mut Group) {
    let mut client = Client::new(&world.log.address(), None);
    senders.each(MOMENT / 5, "write to the log", move || {
        let body = format!(r#"{{"sender":"{}","text":"soak"}}"#, fastrand::u8(..20));
        client.post("/", &body)?;
        Ok(())
    });
    for _ in 0..2 {
        let address = world.log.address();
        receivers.each(MOMENT, "follow the log", move || follow(&address));
    }
}

/// Reads a stream of events for a while, and closes the connection.
fn follow(address: &str) -> Done {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(SOON))?;
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let (until, mut bytes) = (a_while(), [0; 4096]);
    while Instant::now() < until {
        if socket.read(&mut bytes)? == 0 {
            return Err("the stream of events has ended".into());
        }
    }
    Ok(())
}
