//! Who comes back at another server goes on where it was, or is told of a gap.

use std::thread;
use std::time::Instant;

use super::{send_at_all, server, three};
use crate::cases::subscribe::Subscriber;
use crate::support::history::Store;
use crate::support::http::Seen;
use crate::support::postgres::Database;
use crate::support::programs::Program;
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy};

/// Readers that go from server to server while others send.
pub fn from_server_to_server(servers: &[Program], senders: usize, messages: usize) {
    let total = servers.len() * senders * messages;
    let addresses: Vec<_> = servers.iter().map(Program::address).collect();
    let addresses = &addresses;
    let live = (0..4).map(|n| Subscriber::live(&addresses[n % addresses.len()]));
    let live: Vec<_> = live.collect();
    thread::scope(|scope| {
        let readers = live.into_iter().enumerate().map(|(n, mut subscriber)| {
            scope.spawn(move || {
                let mut read: Vec<Seen> = Vec::new();
                while read.len() < total {
                    read.push(subscriber.next().expect("a message"));
                    if read.len().is_multiple_of(7 + n) {
                        let next = &addresses[(read.len() + n) % addresses.len()];
                        subscriber = Subscriber::resume(next, &subscriber.place);
                    }
                }
                read
            })
        });
        let readers: Vec<_> = readers.collect();
        let sent = send_at_all(servers, senders, messages);
        for reader in readers {
            assert!(reader.join().expect("a reader") == sent, "another order");
        }
    });
}

#[test]
fn a_reader_that_goes_from_server_to_server_sees_each_message_once() {
    let _machine = heavy();
    let (_database, servers) = three(&[]);
    from_server_to_server(&servers, 4, 25);
}

#[test]
fn the_same_where_no_server_has_anything_in_memory() {
    let _machine = heavy();
    let (_database, servers) = three(&["--replay-messages", "0"]);
    from_server_to_server(&servers, 4, 25);
}

#[test]
fn what_was_missed_comes_in_many_pages_and_what_is_live_behind_it() {
    let _machine = heavy();
    let (_database, servers) = three(&["--replay-messages", "10"]);
    let place = Subscriber::live(&servers[0].address()).place;
    let large = "x".repeat(100 * 1024);
    let sender = client(&servers[0].address());
    send(&sender, "large", &large);
    let mut sent = send_at_all(&servers, 10, 100);
    send(&sender, "large", &large);
    let mut back = Subscriber::resume(&servers[1].address(), &place);
    sent.extend(send_at_all(&servers, 1, 10));
    assert_eq!(back.next().unwrap().text.len(), large.len());
    let before = sent.len() - 30;
    assert!(back.take(before) == sent[..before], "another order");
    assert_eq!(back.next().unwrap().text.len(), large.len());
    assert!(back.take(30) == sent[before..], "another order");
}

#[test]
fn what_retention_has_removed_is_a_gap() {
    let database = Database::new();
    let flags = ["--retain-messages", "10", "--replay-messages", "5"];
    let server = server(&database.url, &flags);
    let address = server.address();
    let old = Subscriber::live(&address).place;
    let sender = client(&address);
    let sent: Vec<_> = (0..40).map(|_| send(&sender, "a", "b")).collect();
    let mut table = Store::postgres_connection(&database.url);
    let mut numbers = || {
        let select = "SELECT number FROM chat_messages ORDER BY number";
        let rows = table.query(select, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>()
    };
    eventually(SOON, "only the last ten are left", || {
        numbers() == Vec::from_iter(31..=40)
    });
    for gone in [&old, &old.at(sent[0]), &old.at(sent[20])] {
        let subscriber = Subscriber::open(&address, Some(gone.cursor()));
        assert!(subscriber.gap);
        assert_eq!(subscriber.place.nanos, sent[39]);
    }
    let mut back = Subscriber::resume(&address, &old.at(sent[30]));
    let times: Vec<_> = back.take(9).iter().map(|message| message.nanos).collect();
    assert_eq!(times, sent[31..]);
    // Numbers and times go on.
    assert!(send(&sender, "a", "b") > sent[39]);
    assert_eq!(numbers().last(), Some(&41));
}

#[test]
fn the_table_keeps_the_newest_messages_of_so_many_bytes() {
    const MIB: usize = 1 << 20;
    let database = Database::new();
    let flags = ["--retain-bytes", "1048576", "--replay-messages", "5"];
    let server = server(&database.url, &flags);
    let address = server.address();
    let old = Subscriber::live(&address).place;
    let sender = client(&address);
    let mut table = Store::postgres_connection(&database.url);
    let mut kept = || {
        let select = "SELECT count(*), sum(octet_length(sender || text || coalesce(key, '')))
             FROM chat_messages";
        let row = table.query_one(select, &[]).unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1) as usize)
    };
    // Of any sizes, with a key or without.
    let texts = (0..40).map(|n| "x".repeat(n % 4 * 50_000));
    for (n, text) in texts.enumerate() {
        let key = (n % 2 == 0).then(|| format!("key-{n}"));
        sender
            .send_once(key.as_deref(), None, "a", &text, SOON)
            .unwrap();
    }
    eventually(SOON, "it is small enough", || kept().1 <= MIB);
    let (messages, bytes) = kept();
    println!("{messages} messages of {bytes} bytes");
    // One more would be too much, about.
    assert!(bytes > MIB - 151_000, "{bytes}");
    assert!(Subscriber::open(&address, Some(old.cursor())).gap);
    // Some that are larger by far than what may stay: the last ten do.
    for _ in 0..12 {
        send(&sender, "a", &"y".repeat(200_000));
    }
    eventually(SOON, "only the last ten are left", || kept().0 == 10);
}

#[test]
fn a_cursor_of_another_database_or_of_the_future_is_a_gap() {
    let (_database, servers) = three(&[]);
    let address = servers[0].address();
    let sent = send(&client(&address), "a", "b");
    let place = Subscriber::live(&servers[1].address()).place;
    let mut foreign = place.clone();
    foreign.epoch = "another".into();
    let mut subscribers = [foreign, place.at(sent + 1)].map(|unknown| {
        let subscriber = Subscriber::open(&address, Some(unknown.cursor()));
        assert!(subscriber.gap);
        assert_eq!(subscriber.place, place);
        subscriber
    });
    let next = send(&client(&servers[2].address()), "a", "next");
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.next().unwrap().nanos, next);
    }
}

#[test]
fn a_place_is_found_without_compiling_a_plan() {
    let (database, servers) = three(&[]);
    let place = Subscriber::live(&servers[0].address()).place;
    send_at_all(&servers, 1, 10);
    let mut client = Store::postgres_connection(&database.url);
    let look = format!("SELECT * FROM number_in_chat_messages({})", place.nanos);
    // The planner takes the cost of a scan that is turned off for that of a large query.
    let mut median = |jit| {
        client.batch_execute(&format!("SET jit = {jit}")).unwrap();
        let mut times = [(); 21].map(|()| {
            let began = Instant::now();
            client.query(&look, &[]).unwrap();
            began.elapsed()
        });
        times.sort_unstable();
        times[10]
    };
    let (with, without) = (median("on"), median("off"));
    println!("{with:?}, without compilation {without:?}");
    assert!(with < 10 * without, "{with:?} and {without:?}");
}
