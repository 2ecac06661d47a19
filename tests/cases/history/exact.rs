//! Exactness under concurrency, over several replicas.

use std::collections::BTreeSet;
use std::thread;

use crate::support::heavy;
use crate::support::history::{Store, assert_clean, load, say};

fn exact(store: &Store, replicas: usize) {
    let _machine = heavy();
    let replicas = store.replicas(replicas);
    let outcome = load(&replicas, 100, &|_| {});
    assert_clean(&outcome);
    assert!(outcome.replicas.iter().all(|replica| replica.requests > 0));
    assert_eq!(outcome.answered.len(), 5000);
    assert_eq!(store.check(&outcome.answered), 5000);
}

#[test]
fn two_replicas_are_exact_on_sqlite() {
    exact(&Store::sqlite(), 2);
}

#[test]
fn two_replicas_are_exact_on_postgres() {
    exact(&Store::postgres(), 2);
}

#[test]
fn three_replicas_are_exact_on_sqlite() {
    exact(&Store::sqlite(), 3);
}

#[test]
fn three_replicas_are_exact_on_postgres() {
    exact(&Store::postgres(), 3);
}

#[test]
fn what_queues_up_while_a_transaction_runs_goes_into_the_next_one() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    assert_eq!(say(log.port(), "a", "first").status, 200);
    let Store::Sqlite(folder) = &store else {
        unreachable!()
    };
    let other = Store::sqlite_connection(folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(say(log.port(), "a", "b").status, 200));
        }
        log.wait_for_threads("http-conn-", 20);
        other.execute_batch("ROLLBACK").unwrap();
    });
    let table = store.table();
    let dates: BTreeSet<_> = table.iter().map(|row| row.sent_at).collect();
    // A date of its own for each transaction.
    assert_eq!(table.len(), 21);
    assert!(dates.len() < 10, "{} transactions", dates.len());
}
