//! Memory that peers can take, over all of them. The C core goes over its half, by
//! how much differs from run to run (docs/limits.md): this holds the order of
//! magnitude, without the limit the same peers take 380 to 420 MiB.

use super::{SEND, text};
use crate::support::h2::{DATA, Wire};
use crate::support::programs::Server;
use crate::support::rpc::client;
use crate::support::{SOON, eventually, heavy};

const MIB: usize = 1 << 20;
const UPPER: &str = "/message.MessageService/ProcessMessage";
const READ: &str = "/mes_grpc.MessengerServer/ReadMessages";

#[test]
fn a_thousand_connections_that_send_do_not_read_and_leave_take_about_the_memory_limit() {
    let _machine = heavy();
    let server = Server::start(&["--memory-limit", &(128 * MIB).to_string()]);
    let sender = client(&server.address());
    // A message of 400 KiB, of which a part comes.
    let begun = [[0, 0, 6, 0x40, 0].as_slice(), &[b'x'; 15 * 1024]].concat();
    let answered = text(&[b'x'; 12 * 1024]);
    for _ in 0..2 {
        let wires: Vec<_> = (0..1000)
            .map(|_| {
                let mut wire = Wire::with_window(&server.address(), 0);
                wire.whole(1, READ, &[]);
                for call in 1..6 {
                    wire.call(4 * call + 1, SEND);
                    wire.frame(DATA, 0, 4 * call + 1, &begun);
                    wire.whole(4 * call + 3, UPPER, &answered);
                }
                // Of so many, the server lets some go.
                let _ = wire.try_flush();
                wire
            })
            .collect();
        // The C core refuses some, since its half is small.
        eventually(SOON, "many readers", || server.threads_named("read-") > 100);
        for _ in 0..300 {
            let _ = sender.send("other", &"x".repeat(1000), SOON);
        }
        drop(wires);
        server.wait_for_threads("read-", 0);
    }
    eventually(SOON, "room for others", || {
        sender.send("other", "message", SOON).is_ok()
    });
    let peak = server.peak_bytes();
    assert!(peak < 2 * 128 * MIB + 64 * MIB, "{} MiB", peak / MIB);
}
