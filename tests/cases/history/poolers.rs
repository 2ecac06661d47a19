//! A pooler between the log and its PostgreSQL.

use std::thread;

use crate::support::history::{Store, assert_clean, load, say};
use crate::support::http::request;
use crate::support::pgbouncer::{PgBouncer, TRANSACTION};
use crate::support::postgres::{cluster, commits_wait_for_nobody};
use crate::support::programs::Log;
use crate::support::{SOON, eventually};

#[test]
fn what_a_pooler_says_of_a_lost_backend_tells_nothing_of_the_commit() {
    let cluster = cluster(&[]);
    let url = cluster.create("log").unwrap();
    let pooler = PgBouncer::start(&url, "session");
    let through = Store::Url(pooler.before(&url));
    let log = through.replica(&["--database-timeout", "20s"], &[]);
    assert_eq!(say(log.port(), "anna", "first").status, 200);
    // From now on commits wait for a standby, which never comes.
    let mut other = Store::postgres_connection(&url);
    for setting in [
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        "SELECT pg_reload_conf()",
    ] {
        other.batch_execute(setting).unwrap();
    }
    let port = log.port();
    // Some may be committed before all of the server has read its settings.
    let unknown = thread::spawn(move || {
        let answers = (1..).map(|before| (before, say(port, "anna", "next")));
        let mut lost = answers.skip_while(|(_, answer)| answer.status == 200);
        lost.next().unwrap()
    });
    eventually(SOON, "the commit waits, and its backend is ended", || {
        let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'messenger history' AND wait_event = 'SyncRep'";
        !other.query(waiting, &[]).unwrap().is_empty()
    });
    let (before, answer) = unknown.join().unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(
        answer.body.contains("may have been stored"),
        "{}",
        answer.body
    );
    assert_eq!(Store::Url(url).check(&[]), before + 1, "it was");
}

#[test]
fn replicas_are_exact_behind_a_pooler_that_gives_each_transaction_another_backend() {
    let cluster = cluster(&[]);
    let url = cluster.create("log").unwrap();
    let pooler = PgBouncer::start(&url, "transaction");
    let through = Store::Url(pooler.before(&url));
    // One after the other, and at once: none leaves a lock behind.
    let first = through.replica(&[], &[]);
    let started: Vec<_> = (0..4).map(|_| through.spawn(&[], &[])).collect();
    let mut replicas = vec![first];
    replicas.extend(started.into_iter().map(Log::listening));
    let outcome = load(&replicas, 10, &|_| {});
    assert_clean(&outcome);
    assert_eq!(through.check(&outcome.answered), 500);
    let page = request("GET", replicas[0].port(), "/messages?limit=3", &[], "");
    assert_eq!(page.json().as_array().map(Vec::len), Some(3));
}

#[test]
fn an_answer_means_committed_whatever_the_sessions_of_a_pooler_have_been_told() {
    let cluster = cluster(&[]);
    let url = cluster.create("log").unwrap();
    let pooler = PgBouncer::with(&url, TRANSACTION);
    let through = pooler.before(&url);
    let log = Store::Url(through.clone()).replica(&["--database-timeout", "1s"], &[]);
    assert_eq!(say(log.port(), "anna", "first").status, 200);
    commits_wait_for_nobody(&url);
    let mut neighbour = Store::postgres_connection(&through);
    for _ in 0..10 {
        neighbour
            .batch_execute("SET synchronous_commit = off")
            .unwrap();
    }
    let answer = say(log.port(), "anna", "next");
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(
        answer.body.contains("may have been stored"),
        "{}",
        answer.body
    );
}
