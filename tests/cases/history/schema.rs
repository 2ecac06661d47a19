//! The schema: made by many at once, and brought up to date.

use std::thread;

use postgres::error::SqlState;
use refinery::Target;

use crate::support::history::{Store, say, shown};
use crate::support::programs::Log;
use crate::support::{SOON, eventually};

fn twenty(store: &Store) {
    let started: Vec<_> = (0..20)
        .map(|_| store.spawn(&["--lanes", "2"], &[]))
        .collect();
    let logs: Vec<_> = started.into_iter().map(Log::listening).collect();
    for (log, number) in logs.iter().zip(1..) {
        assert_eq!(shown(&say(log.port(), "a", "b")).last().unwrap().0, number);
    }
    assert_eq!(store.check(&[]), 20);
}

#[test]
fn twenty_replicas_start_at_once_on_an_empty_sqlite_folder() {
    twenty(&Store::sqlite());
}

#[test]
fn twenty_replicas_start_at_once_on_an_empty_postgres() {
    twenty(&Store::postgres());
}

mod sqlite {
    refinery::embed_migrations!("src/history/database/migrations/sqlite");
}

mod postgres_schema {
    refinery::embed_migrations!("src/history/database/migrations/postgres");
}

const TABLE: &str = "messenger_history_schema";

/// The first schema had no counters: they were counted each time.
const OLD: &str = "INSERT INTO messages (number, sender, text, sent_at, sender_count) VALUES
    (1, 'a', 'x', 5, 1), (2, 'b', 'y', 9000000000000000000, 1), (3, 'a', 'z', 9000000000000000000, 2)";

fn migrated(store: &Store) {
    let log = store.replica(&[], &[]);
    let ten = shown(&say(log.port(), "a", "new"));
    let expected = [(1, 1, "x"), (2, 1, "y"), (3, 2, "z"), (4, 3, "new")];
    assert_eq!(
        ten,
        expected.map(|(n, count, text)| (n, count, text.to_owned()))
    );
    // The date does not fall behind what was there.
    assert_eq!(store.check(&[]), 4);
}

#[test]
fn an_old_schema_in_sqlite_is_migrated() {
    let store = Store::sqlite();
    let Store::Sqlite(folder) = &store else {
        unreachable!()
    };
    let mut connection = Store::sqlite_connection(folder);
    let runner = sqlite::migrations::runner().set_target(Target::Version(1));
    runner.run(&mut connection).unwrap();
    connection.execute_batch(OLD).unwrap();
    migrated(&store);
}

#[test]
fn an_old_schema_in_postgres_is_migrated() {
    let store = Store::postgres();
    let mut connection = Store::postgres_connection(store.url().unwrap());
    let runner = postgres_schema::migrations::runner().set_target(Target::Version(1));
    let mut runner = runner;
    runner.set_migration_table_name(TABLE);
    runner.run(&mut connection).unwrap();
    connection.batch_execute(OLD).unwrap();
    migrated(&store);
}

/// What a replica of the version before calls.
const BEFORE: &str = "SELECT append_messages(ARRAY['old', 'old'], ARRAY['x', 'y'])";

#[test]
fn replicas_of_the_version_before_go_on_beside_new_ones_in_postgres() {
    let store = Store::postgres();
    let mut old = Store::postgres_connection(store.url().unwrap());
    let mut runner = postgres_schema::migrations::runner().set_target(Target::Version(2));
    runner.set_migration_table_name(TABLE);
    runner.run(&mut old).unwrap();
    old.batch_execute(BEFORE).unwrap();
    // One is in a transaction: what is new waits for it.
    old.batch_execute("BEGIN").unwrap();
    old.batch_execute(BEFORE).unwrap();
    let new = store.spawn(&[], &[]);
    let mut other = Store::postgres_connection(store.url().unwrap());
    eventually(SOON, "the migration waits", || {
        let waiting = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
        !other.query(waiting, &[]).unwrap().is_empty()
    });
    // Another one begins meanwhile, and finds nothing that it knows.
    let url = store.url().unwrap().to_owned();
    let late = thread::spawn(move || Store::postgres_connection(&url).batch_execute(BEFORE));
    eventually(SOON, "it waits too", || {
        let waiting = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'RowExclusiveLock'";
        !other.query(waiting, &[]).unwrap().is_empty()
    });
    old.batch_execute("COMMIT").unwrap();
    let log = Log::listening(new);
    let told = late.join().unwrap().unwrap_err();
    assert_eq!(told.code(), Some(&SqlState::UNDEFINED_TABLE), "{told}");
    assert_eq!(shown(&say(log.port(), "new", "z")).last().unwrap().0, 5);
    old.batch_execute(BEFORE).unwrap();
    let ten = shown(&say(log.port(), "old", "w"));
    assert_eq!(ten.last(), Some(&(8, 7, "w".into())));
    assert_eq!(store.check(&[]), 8);
}

#[test]
fn a_process_of_the_version_before_stores_nothing_in_a_migrated_file() {
    let store = Store::sqlite();
    let log = store.replica(&[], &[]);
    assert_eq!(say(log.port(), "a", "b").status, 200);
    let Store::Sqlite(folder) = &store else {
        unreachable!()
    };
    let old = Store::sqlite_connection(folder);
    // The first that it does in its transaction.
    let head = old.prepare("SELECT last_number, last_time FROM head");
    assert!(head.is_err());
}

#[test]
fn a_schema_of_a_later_version_is_refused() {
    let store = Store::postgres();
    drop(store.replica(&[], &[]));
    let mut connection = Store::postgres_connection(store.url().unwrap());
    let later = format!("INSERT INTO {TABLE} VALUES (99, 'later', '2026-01-02T03:04:05Z', '7')");
    connection.batch_execute(&later).unwrap();
    let mut log = store.spawn(&[], &[]);
    assert_eq!(log.wait_exit(SOON), 1);
    assert!(log.log().contains("schema"), "{}", log.log());
}
