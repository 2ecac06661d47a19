//! Exactness under concurrency, over several replicas.

use crate::support::heavy;
use crate::support::history::{Store, assert_clean, load};

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
