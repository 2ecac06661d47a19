//! What a snapshot that somebody holds (pg_dump, a long report) costs those who append.

use postgres::{Client, SimpleQueryMessage};
use serde_json::{Value, json};

use crate::support::history::{Store, say};
use crate::support::http::request;
use crate::support::{SOON, eventually};

const APPEND: &str = "SELECT * FROM append_messages(ARRAY['anna', 'ben'], ARRAY['x', 'y'], NULL)";

/// The least of a few: a page that is split now and then is not what is asked for.
fn buffers_of_one_append(client: &mut Client) -> i64 {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {APPEND}");
    let once = |_| {
        let told = client.simple_query(&explain).unwrap();
        let plan = told.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: Value = serde_json::from_str(plan.unwrap()).unwrap();
        let blocks = |kind: &str| plan[0]["Plan"][kind].as_i64().unwrap();
        blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
    };
    (0..9).map(once).min().unwrap()
}

#[test]
fn an_append_reads_no_more_pages_however_long_somebody_holds_a_snapshot() {
    let store = Store::postgres();
    let log = store.replica(&[], &[]);
    assert_eq!(say(log.port(), "anna", "first").status, 200);
    let mut reader = Store::postgres_connection(store.url().unwrap());
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM messages")
        .unwrap();
    let mut client = Store::postgres_connection(store.url().unwrap());
    // The plans are cached, and the indices have their second level.
    for _ in 0..500 {
        client.batch_execute(APPEND).unwrap();
    }
    let before = buffers_of_one_append(&mut client);
    for _ in 0..3000 {
        client.batch_execute(APPEND).unwrap();
    }
    let after = buffers_of_one_append(&mut client);
    assert!(after <= before + before / 4, "{before}, then {after}");
    let batches = 500 + 9 + 3000 + 9;
    assert_eq!(store.check(&[]), 1 + 2 * batches);
    // And who has sent how much is known all the same, before and after it is counted.
    let expected =
        json!([{"sender": "anna", "count": batches + 1}, {"sender": "ben", "count": batches}]);
    let senders = || request("GET", log.port(), "/senders", &[], "").json();
    assert_eq!(senders(), expected);
    assert_eq!(say(log.port(), "anna", "last").status, 200);
    eventually(SOON, "the senders are counted", || {
        let behind = "SELECT FROM progress WHERE counted < (SELECT max(number) FROM messages)";
        client.query(behind, &[]).unwrap().is_empty()
    });
    assert_eq!(
        senders()[0],
        json!({"sender": "anna", "count": batches + 2})
    );
}

#[test]
fn a_database_that_shows_a_transaction_too_little_is_refused() {
    let store = Store::postgres();
    let mut client = Store::postgres_connection(store.url().unwrap());
    let log = store.replica(&[], &[]);
    assert_eq!(say(log.port(), "anna", "first").status, 200);
    let stale = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {APPEND}");
    let refused = client.batch_execute(&stale).unwrap_err();
    let reason = refused.as_db_error().unwrap().message();
    assert!(reason.contains("repeatable read"), "{reason}");
}
