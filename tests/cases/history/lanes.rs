//! Reads that take long hold up neither writes nor health.

use std::thread;

use crate::support::events::Events;
use crate::support::history::{Store, say};
use crate::support::http::request;
use crate::support::{SOON, eventually};

#[test]
fn with_all_who_read_waiting_a_message_is_stored_followed_and_health_answered() {
    let store = Store::postgres();
    let log = store.replica(&["--database-timeout", "60s"], &[]);
    let port = log.port();
    assert_eq!(say(port, "anna", "first").status, 200);
    let follower = Events::open(port, "");
    let mut other = Store::postgres_connection(store.url().unwrap());
    // Only those who ask for the senders need this table.
    other
        .batch_execute("BEGIN; LOCK TABLE progress IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    thread::scope(|scope| {
        let senders = || request("GET", port, "/senders", &[], "").status;
        let reads: Vec<_> = (0..80).map(|_| scope.spawn(senders)).collect();
        // More than all lanes together, and the follower.
        log.wait_for_threads("http-conn-", 81);
        let waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'progress'::regclass
             AND mode = 'AccessShareLock'";
        eventually(SOON, "one of them waits in the database", || {
            !other.query(waiting, &[]).unwrap().is_empty()
        });
        for path in ["/healthz", "/readyz", "/"] {
            assert_eq!(request("GET", port, path, &[], "").status, 200, "{path}");
        }
        assert_eq!(say(port, "anna", "second").status, 200);
        assert_eq!(follower.next().data["text"], "second");
        other.batch_execute("ROLLBACK").unwrap();
        for read in reads {
            assert_eq!(read.join().unwrap(), 200);
        }
    });
}
