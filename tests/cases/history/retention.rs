//! A log whose beginning goes.

use serde_json::json;

use crate::support::events::Events;
use crate::support::history::{Store, say, shown};
use crate::support::http::request;
use crate::support::{SOON, eventually};

fn numbers(store: &Store) -> Vec<i64> {
    store.table().iter().map(|row| row.number).collect()
}

fn the_newest_stay(store: &Store) {
    let flags = ["--retain-messages", "20"];
    let logs = [store.replica(&flags, &[]), store.replica(&flags, &[])];
    let ports = [logs[0].port(), logs[1].port()];
    say(ports[0], "rare", "1");
    for n in 2..=100 {
        say(ports[n % 2], "anna", &n.to_string());
    }
    eventually(SOON, "twenty are left", || {
        numbers(store) == (81..=100).collect::<Vec<_>>()
    });
    // Who follows and who pages is told.
    let follower = Events::open(ports[0], "after=7");
    let gone = follower.next();
    assert_eq!(
        (&*gone.name, gone.data),
        ("gone", json!({"from": 8, "to": 80}))
    );
    assert_eq!(follower.next().data["number"], 81);
    let page = |query: &str| {
        let page = request("GET", ports[1], &format!("/messages?{query}"), &[], "");
        let gone = page.header("X-Messenger-Gone").map(str::to_owned);
        let first = shown(&page).first().map(|message| message.0);
        (first, gone)
    };
    assert_eq!(page("after=7"), (Some(81), Some("8-80".into())));
    assert_eq!(page("after=80"), (Some(81), None));
    assert_eq!(page("before=90"), (Some(81), None));
    assert_eq!(page("before=81"), (None, Some("1-80".into())));
    // Numbers and counts go on, also those of a sender of whom nothing is left.
    let senders = || request("GET", ports[0], "/senders", &[], "").json();
    let count = |anna: i64, rare: i64| json!([{"sender": "anna", "count": anna}, {"sender": "rare", "count": rare}]);
    assert_eq!(senders(), count(99, 1));
    let ten = shown(&say(ports[1], "rare", "2"));
    assert_eq!((ten.len(), ten.last()), (10, Some(&(101, 2, "2".into()))));
    assert_eq!(senders(), count(99, 2));
    assert_eq!(shown(&say(ports[0], "anna", "n")).last().unwrap().1, 100);
}

#[test]
fn only_the_newest_stay_and_all_are_told_on_sqlite() {
    the_newest_stay(&Store::sqlite());
}

#[test]
fn only_the_newest_stay_and_all_are_told_on_postgres() {
    the_newest_stay(&Store::postgres());
}

const AGED: &str = "UPDATE messages SET sent_at = sent_at - 40 * 86400000000000 WHERE number <= ";

fn the_old_go(store: &Store, execute: impl Fn(&str)) {
    let log = store.replica(&[], &[]);
    for n in 1..=30 {
        say(log.port(), "anna", &n.to_string());
    }
    drop(log);
    execute(&format!("{AGED} 12"));
    let log = store.replica(&["--retain-days", "30"], &[]);
    eventually(SOON, "the old ones are gone", || {
        numbers(store) == (13..=30).collect::<Vec<_>>()
    });
    // All are old now; an answer shows ten all the same.
    execute(&format!("{AGED} 30"));
    eventually(SOON, "ten are left", || {
        numbers(store) == (21..=30).collect::<Vec<_>>()
    });
    let ten = shown(&say(log.port(), "anna", "31"));
    assert_eq!((ten.len(), ten.last().unwrap().1), (10, 31));
}

#[test]
fn what_is_old_goes_on_sqlite() {
    let store = Store::sqlite();
    let Store::Sqlite(folder) = &store else {
        unreachable!()
    };
    let execute = |sql: &str| {
        let connection = Store::sqlite_connection(folder);
        connection.busy_timeout(SOON).unwrap();
        connection.execute_batch(sql).unwrap();
    };
    the_old_go(&store, execute);
}

#[test]
fn what_is_old_goes_on_postgres() {
    let store = Store::postgres();
    let url = store.url().unwrap();
    let execute = |sql: &str| Store::postgres_connection(url).batch_execute(sql).unwrap();
    the_old_go(&store, execute);
}

#[test]
fn a_step_is_small_goes_on_where_the_one_before_ended_and_leaves_another_one_alone() {
    let store = Store::postgres();
    drop(store.replica(&[], &[]));
    let mut client = Store::postgres_connection(store.url().unwrap());
    client
        .batch_execute(
            "SELECT append_messages(array_agg('s' || n % 7), array_agg('x'::text), NULL)
             FROM generate_series(1, 250) n",
        )
        .unwrap();
    let mut step = || {
        let more: bool = client
            .query_one("SELECT keep_messages(100, 10, NULL)", &[])
            .unwrap()
            .get(0);
        (more, numbers(&store).first().copied().unwrap())
    };
    let steps: Vec<_> = (0..4).map(|_| step()).collect();
    assert_eq!(
        steps,
        [(true, 101), (true, 201), (false, 241), (false, 241)]
    );
    let mut other = Store::postgres_connection(store.url().unwrap());
    let mut held = other.transaction().unwrap();
    held.batch_execute(
        "SELECT append_messages(ARRAY['s'], ARRAY['x'], NULL); SELECT keep_messages(100, 10, NULL)",
    )
    .unwrap();
    assert_eq!(step(), (false, 241));
    held.commit().unwrap();
    assert_eq!(step(), (false, 242));
}
