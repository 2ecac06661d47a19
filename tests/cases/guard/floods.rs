//! Floods of frames, which the C core has no guards of its own against.
//! Each lasts 3 s here; `MESSENGER_TEST_FLOOD_SECONDS=60` makes it longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::SEND;
use crate::support::h2::{CONTINUATION, HEADERS, RST_STREAM, Wire, headers};
use crate::support::programs::Server;
use crate::support::rpc::client;
use crate::support::{SOON, eventually, heavy};

fn time() -> Duration {
    let seconds = std::env::var("MESSENGER_TEST_FLOOD_SECONDS");
    Duration::from_secs(seconds.map_or(3, |text| text.parse().expect("seconds")))
}

/// Connections that flood a server until this is dropped; each is opened again
/// when it is closed.
pub struct Flood {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    pub fn start(address: &str, connections: usize, fill: fn(&mut Wire, &mut u32)) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = |_| {
            let (address, over) = (address.to_owned(), over.clone());
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let Ok(mut wire) = Wire::try_open(&address) else {
                        continue;
                    };
                    let mut stream = 1;
                    while !over.load(Ordering::SeqCst) && stream < 0x3fff_ffff {
                        fill(&mut wire, &mut stream);
                        if wire.try_flush().is_err() {
                            break;
                        }
                        while wire.next(Duration::ZERO).is_some() {}
                    }
                }
            })
        };
        let threads = (0..connections).map(thread).collect();
        Self { over, threads }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// CVE-2023-44487: calls that are cancelled as soon as they are made.
pub fn resets(wire: &mut Wire, stream: &mut u32) {
    for _ in 0..100 {
        wire.call(*stream, SEND);
        wire.frame(RST_STREAM, 0, *stream, &[0, 0, 0, 8]);
        *stream += 2;
    }
}

/// Headers that do not end. The block is one field that goes on and on.
fn continuations(wire: &mut Wire, stream: &mut u32) {
    if *stream == 1 {
        wire.frame(HEADERS, 0, 1, &headers(SEND, &[]));
        *stream = 3;
    }
    let field = b"\x00\x01x\x40xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    wire.frame(CONTINUATION, 0, 1, &field.repeat(100));
}

/// More than the C core can hold: SECURITY.md says so, and what holds it off.
fn is_survived(fill: fn(&mut Wire, &mut u32)) {
    let _machine = heavy();
    for connections in [1, 20] {
        let server = Server::start(&[]);
        let flood = Flood::start(&server.address(), connections, fill);
        thread::sleep(time());
        drop(flood);
        let sent = || client(&server.address()).send("a", "b", SOON).is_ok();
        eventually(2 * SOON, "an answer", sent);
    }
}

#[test]
fn rapid_resets_are_survived() {
    is_survived(resets);
}

#[test]
fn headers_without_an_end_are_survived() {
    is_survived(continuations);
}
