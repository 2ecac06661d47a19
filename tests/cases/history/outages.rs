//! Replicas killed, databases restarted or stuck, in the middle of a load.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::history::{Store, assert_clean, assert_sound, errors, load, say, shown};
use crate::support::http::request;
use crate::support::postgres::cluster;
use crate::support::process::Signal;
use crate::support::{SOON, eventually, heavy};

/// Calls once when so many requests are done.
fn once(at: u64, call: impl FnOnce() + Send) -> impl Fn(u64) + Sync {
    let call = Mutex::new(Some(call));
    move |done| {
        if done >= at
            && let Some(call) = call.lock().unwrap().take()
        {
            call();
        }
    }
}

fn killed(store: &Store) {
    let _machine = heavy();
    let replicas = store.replicas(3);
    let kill = once(1000, || replicas[0].signal(Signal::KILL));
    let outcome = load(&replicas, 60, &kill);
    assert_sound(&outcome);
    assert!(errors(&outcome) > 0, "the killed one was in use");
    assert_eq!(errors(&outcome), outcome.replicas[0].errors);
    // What the killed one had taken is sent again to another one, with its key.
    assert_eq!(outcome.answered.len(), 3000);
    let stored = store.check(&outcome.answered);
    assert_eq!(stored, 3000);
    let again = load(&store.replicas(1), 2, &|_| {});
    assert_clean(&again);
    assert_eq!(store.check(&again.answered), stored + 100);
}

#[test]
fn a_replica_killed_in_the_middle_leaves_no_hole_on_sqlite() {
    killed(&Store::sqlite());
}

#[test]
fn a_replica_killed_in_the_middle_leaves_no_hole_on_postgres() {
    killed(&Store::postgres());
}

fn restarted(order: &str) {
    let _machine = heavy();
    let cluster = cluster(&[]);
    let store = Store::Url(cluster.create("log").unwrap());
    let cluster = Mutex::new(cluster);
    let replicas = store.replicas(2);
    let restart = once(1000, || {
        let mut cluster = cluster.lock().unwrap();
        cluster.order(order).unwrap();
        cluster.order("start").unwrap();
    });
    let outcome = load(&replicas, 60, &restart);
    assert_sound(&outcome);
    assert!(outcome.answered.len() > 2000, "{:?}", outcome.replicas);
    let stored = store.check(&outcome.answered);
    assert!(
        (outcome.answered.len()..=3000).contains(&stored),
        "{stored}"
    );
    for replica in &outcome.replicas {
        if let Some(error) = &replica.last_error {
            assert!(error.contains("503"), "{error}");
        }
    }
    assert_clean(&load(&replicas, 2, &|_| {}));
}

#[test]
fn a_postgres_that_crashes_in_the_middle_loses_no_answered_message() {
    restarted("crash");
}

#[test]
fn a_postgres_that_restarts_in_the_middle_loses_no_answered_message() {
    restarted("stop");
}

#[test]
fn without_its_database_requests_get_503_in_time_and_it_comes_back_by_itself() {
    let mut cluster = cluster(&[]);
    let store = Store::Url(cluster.create("log").unwrap());
    let log = store.replica(&["--database-timeout", "1s"], &[]);
    let port = log.port();
    let healthy = || request("GET", port, "/healthz", &[], "").status;
    assert_eq!(shown(&say(port, "a", "1")).len(), 1);
    assert_eq!(healthy(), 200);
    cluster.order("stop").unwrap();
    // The first one may have reached the connection before its end.
    for unknown in [true, false] {
        let started = Instant::now();
        let answer = say(port, "a", "lost");
        assert_eq!(answer.status, 503, "{}", answer.body);
        let known = answer.body.contains("was not stored");
        assert!(known || unknown, "{}", answer.body);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    assert_eq!(healthy(), 503);
    cluster.order("start").unwrap();
    eventually(SOON, "the log is back", || healthy() == 200);
    let expected = [(1, 1, "1".into()), (2, 2, "2".into())];
    assert_eq!(shown(&say(port, "a", "2")), expected);
    assert!(log.log().contains("the database is back"), "{}", log.log());
}

#[test]
fn a_lock_that_somebody_else_holds_is_503_in_time_and_leaves_no_hole() {
    let store = Store::postgres();
    let log = store.replica(&["--database-timeout", "1s"], &[]);
    let port = log.port();
    assert_eq!(shown(&say(port, "a", "first")).len(), 1);
    let mut other = Store::postgres_connection(store.url().unwrap());
    let mut transaction = other.transaction().unwrap();
    transaction
        .batch_execute("SELECT append_messages(ARRAY['eve'], ARRAY['never'], NULL)")
        .unwrap();
    let lost = || {
        let started = Instant::now();
        let answer = say(port, "a", "lost");
        let took = started.elapsed();
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(took < Duration::from_secs(3), "{took:?}");
        answer.body.contains("was not stored")
    };
    let health = || request("GET", port, "/healthz", &[], "");
    assert_eq!(health().status, 200, "nobody has written");
    // Some wait for the lock, the others for those.
    let unknown = thread::scope(|scope| {
        let requests: Vec<_> = (0..8).map(|_| scope.spawn(lost)).collect();
        let known = requests.into_iter().map(|request| request.join().unwrap());
        known.filter(|known| !known).count()
    });
    assert!(unknown < 8, "the database gives up before those who wait");
    let health_now = health();
    assert_eq!(health_now.status, 503, "{}", health_now.body);
    assert!(health_now.body.contains("write"), "{}", health_now.body);
    transaction.rollback().unwrap();
    eventually(SOON, "it tries to write", || health().status == 200);
    let text = |text: &str| shown(&say(port, "a", text)).pop();
    eventually(SOON, "the lock is free", || {
        say(port, "b", "?").status == 200
    });
    let last = text("here").unwrap();
    assert_eq!(
        (last.0 as usize, last.2.as_str()),
        (store.check(&[]), "here")
    );
}

#[test]
fn a_log_waits_for_its_database_at_the_start_and_then_gives_up() {
    let store = Store::Url("postgresql://nobody:secret@127.0.0.1:9/log".into());
    let mut log = store.spawn(&["--database-timeout", "300ms"], &[]);
    assert_eq!(log.wait_exit(SOON), 1);
    let said = log.log();
    assert!(
        said.contains("127.0.0.1:9/log") && !said.contains("secret"),
        "{said}"
    );
    let mut log = Store::Url("nonsense".into()).spawn(&[], &[]);
    assert_eq!(log.wait_exit(SOON), 1);
    assert!(log.log().contains("the database URL"), "{}", log.log());
}

#[test]
fn a_file_that_was_deleted_is_not_written_any_more() {
    let store = Store::sqlite();
    let Store::Sqlite(folder) = &store else {
        unreachable!()
    };
    let log = store.replica(&["--database-timeout", "1s"], &[]);
    let port = log.port();
    let health = || request("GET", port, "/healthz", &[], "").status;
    assert_eq!((say(port, "a", "1").status, health()), (200, 200));
    let file = folder.path().join("history.sqlite3");
    let away = folder.path().join("away");
    std::fs::rename(&file, &away).unwrap();
    let answer = say(port, "a", "lost");
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("was not stored"), "{}", answer.body);
    assert_eq!(health(), 503);
    assert!(!file.exists(), "no new log is begun");
    let said = log.log();
    assert!(said.contains("deleted or replaced"), "{said}");
    std::fs::rename(&away, &file).unwrap();
    eventually(SOON, "it is there again", || health() == 200);
    assert_eq!(shown(&say(port, "a", "2")).len(), 2);
    assert_eq!(store.check(&[]), 2);
}
