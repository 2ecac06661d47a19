//! `Idempotency-Key`: what is sent again is stored once.

use std::collections::HashSet;
use std::thread;

use serde_json::json;

use crate::support::history::{Store, say, shown};
use crate::support::http::{Answer, request};
use crate::support::postgres::cluster;
use crate::support::{SOON, eventually};

fn keyed(port: u16, key: &str, sender: &str, text: &str) -> Answer {
    let body = json!({"sender": sender, "text": text}).to_string();
    request("POST", port, "/", &[("Idempotency-Key", key)], &body)
}

fn refused(answer: &Answer, status: u16, code: &str) {
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status, error["code"].as_str()),
        (status, Some(code))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("Idempotency-Key: "), "{message}");
}

fn stored_once(store: &Store) {
    let logs = store.replicas(2);
    let ports = [logs[0].port(), logs[1].port()];
    say(ports[0], "anna", "before");
    let first = keyed(ports[0], "key-1", "anna", "once");
    assert_eq!(shown(&first).last(), Some(&(2, 2, "once".into())));
    for n in 0..12 {
        say(ports[n % 2], "ben", &n.to_string());
    }
    // By any replica, however many have come since.
    for port in ports {
        let again = keyed(port, "key-1", "anna", "once");
        assert_eq!((again.status, &again.body), (200, &first.body));
    }
    let code = "ALREADY_EXISTS";
    refused(&keyed(ports[1], "key-1", "anna", "twice"), 422, code);
    refused(&keyed(ports[0], "key-1", "ben", "once"), 422, code);
    for key in ["", "a b", &"k".repeat(129)] {
        refused(&keyed(ports[0], key, "anna", "no"), 400, "INVALID_ARGUMENT");
    }
    // Another key is another message, and so is none.
    let other = keyed(ports[0], &"k".repeat(128), "anna", "once");
    assert_eq!(shown(&other).last(), Some(&(15, 3, "once".into())));
    assert_eq!(shown(&say(ports[1], "anna", "once")).last().unwrap().0, 16);
    assert_eq!(store.check(&[]), 16);
}

#[test]
fn what_is_sent_again_gets_its_first_answer_on_sqlite() {
    stored_once(&Store::sqlite());
}

#[test]
fn what_is_sent_again_gets_its_first_answer_on_postgres() {
    stored_once(&Store::postgres());
}

/// Of one batch, too: all wait for the same lock.
fn at_once(store: &Store) {
    let logs = store.replicas(2);
    let ports = [logs[0].port(), logs[1].port()];
    let rounds = (0..10).map(|round: usize| {
        thread::scope(|scope| {
            let send = |n: usize| {
                let (key, text) = (format!("key-{round}"), format!("round {round}"));
                scope.spawn(move || keyed(ports[n % 2], &key, "anna", &text).body)
            };
            let sent: Vec<_> = (0..16).map(send).collect();
            let bodies: HashSet<_> = sent.into_iter().map(|it| it.join().unwrap()).collect();
            bodies.len()
        })
    });
    assert_eq!(rounds.collect::<Vec<_>>(), [1; 10]);
    assert_eq!(store.check(&[]), 10);
}

#[test]
fn a_key_that_comes_many_times_at_once_is_stored_once_on_sqlite() {
    at_once(&Store::sqlite());
}

#[test]
fn a_key_that_comes_many_times_at_once_is_stored_once_on_postgres() {
    at_once(&Store::postgres());
}

#[test]
fn what_may_have_been_stored_is_sent_again_and_was() {
    let cluster = cluster(&[]);
    let store = Store::Url(cluster.create("log").unwrap());
    let mut other = Store::postgres_connection(store.url().unwrap());
    let log = store.replica(&["--database-timeout", "20s"], &[]);
    let port = log.port();
    assert_eq!(say(port, "anna", "first").status, 200);
    // From now on a commit waits for a standby that there is none of.
    for setting in [
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ] {
        other.batch_execute(setting).unwrap();
    }
    // Some may be committed before all of the server has read its settings.
    let in_doubt = thread::spawn(move || {
        let mut sent = (0..).map(|n: usize| (n, keyed(port, &n.to_string(), "anna", "doubt")));
        sent.find(|(_, answer)| answer.status != 200).unwrap()
    });
    eventually(SOON, "the commit waits, and its backend is ended", || {
        let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'messenger history' AND wait_event = 'SyncRep'";
        !other.query(waiting, &[]).unwrap().is_empty()
    });
    let (n, answer) = in_doubt.join().unwrap();
    assert!(
        answer.body.contains("may have been stored"),
        "{}",
        answer.body
    );
    for setting in [
        "ALTER SYSTEM RESET synchronous_standby_names",
        "SELECT pg_reload_conf()",
    ] {
        other.batch_execute(setting).unwrap();
    }
    let mut again = keyed(port, &n.to_string(), "anna", "doubt");
    eventually(SOON, "commits wait for nobody", || {
        if again.status != 200 {
            again = keyed(port, &n.to_string(), "anna", "doubt");
        }
        again.status == 200
    });
    let number = i64::try_from(n).unwrap() + 2;
    assert_eq!(shown(&again).last().unwrap().0, number);
    assert_eq!(store.check(&[]), n + 2);
}
