//! All servers are replaced, one by one, while many readers go on elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use grpcio::{Client, RpcStatus};
use messenger::chat::wire;

use super::outages::send_each;
use crate::cases::subscribe::{Place, call};
use crate::support::postgres::Database;
use crate::support::process::Signal;
use crate::support::programs::{Server, free_port};
use crate::support::rpc::{client, raw, send};
use crate::support::{SOON, heavy};

/// Readers share connections, as behind a balancer.
const CONNECTIONS: usize = 8;
const SENDERS: usize = 40;

/// How long a reader may be away.
const AWAY: Duration = Duration::from_secs(10);

#[test]
fn two_hundred_readers_go_on_while_all_servers_are_replaced() {
    replace_all(200, 100, Duration::from_millis(400));
}

#[test]
#[ignore = "needs a machine with nothing else to do: make rolling"]
fn a_thousand_readers_of_500_messages_a_second_go_on_while_all_servers_are_replaced() {
    replace_all(1_000, 500, Duration::from_secs(3));
}

/// With so many readers and so many messages a second, and so much time in between.
fn replace_all(readers: usize, wanted: u32, pause: Duration) {
    let _machine = heavy();
    let database = Database::new();
    let ports = [(); 3].map(|()| free_port());
    let flags = ["--database-url", &database.url, "--log-level", "warn"];
    let start = |port| Server::start_on(port, &flags);
    let mut servers = ports.map(start);
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    let connect = |at: usize| raw(&addresses[at % addresses.len()]);
    let clients: Vec<_> = (0..3 * CONNECTIONS).map(connect).collect();
    let (told, events) = unbounded();
    for number in 0..readers {
        // Elsewhere is the next one.
        let (clients, told) = (clients.clone(), told.clone());
        let reader = Reader::new(clients, number);
        reader.clients[number % reader.clients.len()]
            .clone()
            .spawn(reader.read(told));
    }
    drop(told);
    let next = |within| events.recv_timeout(within).expect("in time");
    for number in 0..readers {
        assert!(matches!(next(SOON), Event::Live), "reader {number}");
    }
    let over = &AtomicBool::new(false);
    let pace = Duration::from_secs(1) * SENDERS as u32 / wanted;
    let began = Instant::now();
    let (sent, rate) = thread::scope(|scope| {
        let addresses = &addresses;
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| scope.spawn(move || send_each(pace, &n.to_string(), addresses, over)))
            .collect();
        for (server, port) in servers.iter_mut().zip(ports) {
            thread::sleep(pause);
            server.signal(Signal::TERM);
            assert_eq!(server.wait_exit(SOON), 0);
            *server = start(port);
        }
        thread::sleep(pause);
        over.store(true, Ordering::Relaxed);
        let sent = senders.into_iter().map(|it| it.join().expect("a sender"));
        let times = sent.flatten().map(|message| message.nanos);
        let mut sent: Vec<_> = times.collect();
        let rate = sent.len() as f64 / began.elapsed().as_secs_f64();
        sent.push(send(&client(&addresses[0]), END, ""));
        sent.sort_unstable();
        (sent, rate)
    });
    let (mut longest, mut resumes) = (Duration::ZERO, 0);
    for _ in 0..readers {
        let Event::Read(read) = next(4 * SOON) else {
            panic!("live for the second time");
        };
        let Read { times, absences } = read.unwrap_or_else(|why| panic!("{why}"));
        assert!(times == sent, "a reader misses something");
        longest = longest.max(absences.iter().copied().max().unwrap_or_default());
        resumes += absences.len();
    }
    println!(
        "{} messages, {rate:.0}/s; {readers} readers resumed {resumes} times, away for {longest:?} at most",
        sent.len()
    );
    assert!(resumes >= readers, "each server's readers have to go on");
    assert!(longest < AWAY, "{longest:?}");
}

/// The author of the last message.
const END: &str = "end";

enum Event {
    Live,
    Read(Result<Read, String>),
}

/// The times of all messages, and how long each absence was.
#[derive(Default)]
struct Read {
    times: Vec<i64>,
    absences: Vec<Duration>,
}

/// A reader without a thread.
struct Reader {
    clients: Vec<Client>,
    at: usize,
    read: Read,
}

impl Reader {
    fn new(clients: Vec<Client>, at: usize) -> Self {
        let read = Read::default();
        Self { clients, at, read }
    }

    async fn read(mut self, told: Sender<Event>) {
        let read = self.read_on(&told).await;
        let _ = told.send(Event::Read(read.map(|()| self.read)));
    }

    /// Up to the end, at the next server when one ends.
    async fn read_on(&mut self, told: &Sender<Event>) -> Result<(), String> {
        let mut stream = call(&self.clients[self.at % self.clients.len()], None);
        let first = stream.next().await.map_err(|status| says(&status))?;
        let mut place = Place::of(&first.subscribed.position);
        told.send(Event::Live).map_err(|error| error.to_string())?;
        loop {
            while let Ok(response) = stream.next().await {
                for message in response.messages {
                    let message = wire::message(message);
                    place.nanos = message.send_time.nanos();
                    self.read.times.push(place.nanos);
                    if message.author == END {
                        return Ok(());
                    }
                }
            }
            let gone = Instant::now();
            loop {
                self.at += 1;
                stream = call(
                    &self.clients[self.at % self.clients.len()],
                    Some(place.cursor()),
                );
                match stream.next().await {
                    Ok(first) if first.subscribed.gap => return Err("a gap".into()),
                    Ok(_) => break,
                    Err(status) if gone.elapsed() > AWAY => return Err(says(&status)),
                    Err(_) => {}
                }
            }
            self.read.absences.push(gone.elapsed());
        }
    }
}

fn says(status: &RpcStatus) -> String {
    format!("{} {}", status.code(), status.message())
}
