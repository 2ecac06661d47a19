//! How much the bridge's two requests cost: clients that each make one request
//! after the other, on one connection if the bridge keeps it open.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::figures::{Figures, Stopwatch};
use super::process::{Program, cpu_time};
use super::{TIMEOUT, WARM_UP, chat};
use crate::http::client::Client;
use crate::latency::Latencies;

/// Measures `POST /sendMessage` from so many threads, each of which waits for its
/// answer before it sends again. A request that is under way at the end counts for
/// the latencies alone.
pub fn send(
    bridge: &Program,
    server: &Program,
    clients: usize,
    text_bytes: usize,
    time: Duration,
) -> io::Result<Figures> {
    let text = "x".repeat(text_bytes);
    let body = format!(r#"{{"author":"bench","text":"{text}"}}"#);
    let start = Instant::now() + WARM_UP;
    let end = start + time;
    let answered = AtomicU64::new(0);
    let client = || -> io::Result<Latencies> {
        let (mut client, mut latencies) = (Client::new(bridge.address(), None), Latencies::new()?);
        loop {
            let sent = Instant::now();
            if sent >= end {
                return Ok(latencies);
            }
            client.post("/sendMessage", &body)?;
            let now = Instant::now();
            if sent >= start {
                latencies.record(now - sent);
            }
            if (start..end).contains(&now) {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        thread::sleep(start.saturating_duration_since(Instant::now()));
        let stopwatch = Stopwatch::start(&[bridge], server.id())?;
        thread::sleep(end.saturating_duration_since(Instant::now()));
        let requests = answered.load(Ordering::Relaxed);
        let mut figures = stopwatch.stop(requests, Latencies::new()?)?;
        for client in clients {
            let latencies = client.join();
            let latencies = latencies.map_err(|_| io::Error::other("a client has panicked"))?;
            figures.latencies.add(&latencies?)?;
        }
        Ok(figures)
    })
}

/// Measures `POST /getAndFlushMessages` with so many messages in the bridge, so
/// many times. They are sent straight to the bridge's server.
pub fn flush(
    bridge: &Program,
    server: &Program,
    text_bytes: usize,
    messages: usize,
    rounds: usize,
) -> io::Result<Latencies> {
    let mut client = Client::new(bridge.address(), None);
    let mut flush = || client.post("/getAndFlushMessages", "");
    // Until the subscription is live.
    let deadline = Instant::now() + TIMEOUT;
    let mut sent: Option<Instant> = None;
    while count(&flush()?) == 0 || sent.is_none() {
        if Instant::now() > deadline {
            return Err(super::no_answer("messages: the bridge gets none"));
        }
        if sent.is_none_or(|sent| sent.elapsed() > Duration::from_millis(200)) {
            chat::send(server, 1, 1)?;
            sent = Some(Instant::now());
        }
    }
    // What came while the bridge was started may come late.
    idle(bridge)?;
    flush()?;
    let mut latencies = Latencies::new()?;
    for _ in 0..rounds {
        chat::send(server, text_bytes, messages)?;
        idle(bridge)?;
        let sent = Instant::now();
        let answer = flush()?;
        latencies.record(sent.elapsed());
        let have = count(&answer);
        if have != messages {
            let what = format!("a flush had {have} of {messages} messages");
            return Err(io::Error::other(what));
        }
    }
    Ok(latencies)
}

/// Returns when the bridge has used no CPU time for a while: nothing else shows
/// from outside that it has taken in all messages.
fn idle(bridge: &Program) -> io::Result<()> {
    let Some(pid) = bridge.id() else {
        return Err(io::Error::other("the bridge's process is somebody else's"));
    };
    let (mut used, mut since) = (cpu_time(pid)?, Instant::now());
    while since.elapsed() < Duration::from_millis(150) {
        thread::sleep(Duration::from_millis(10));
        let now = cpu_time(pid)?;
        if now != used {
            (used, since) = (now, Instant::now());
        }
    }
    Ok(())
}

fn count(answer: &[u8]) -> usize {
    let mark = b"\"sendTime\"";
    let parts = answer.windows(mark.len());
    parts.filter(|part| part == mark).count()
}
