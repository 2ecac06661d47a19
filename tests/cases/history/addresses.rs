//! What DATABASE_URL may name, and what its role may do.

use crate::support::history::{Store, say};
use crate::support::postgres::cluster;
use crate::support::process::Signal;
use crate::support::programs::Log;
use crate::support::{SOON, eventually};

/// "messenge", as everyone who migrates takes it.
const MIGRATION_LOCK: i64 = 0x6d65_7373_656e_6765;

#[test]
fn a_start_that_waits_for_the_migration_lock_hears_the_end_and_names_who_holds_it() {
    let store = Store::postgres();
    let mut other = Store::postgres_connection(store.url().unwrap());
    let taken = other.query_one(
        "SELECT pg_advisory_lock($1), pg_backend_pid()",
        &[&MIGRATION_LOCK],
    );
    let holder: i32 = taken.unwrap().get(1);
    let mut log = store.spawn(&[], &[]);
    let named = format!("lock {MIGRATION_LOCK} is held by the backend {holder}");
    eventually(SOON, "it says what it waits for", || {
        log.log().contains(&named)
    });
    log.signal(Signal::TERM);
    assert_eq!(log.wait_exit(SOON), 0, "{}", log.log());
    // And another one begins when the lock is free.
    let log = store.spawn(&[], &[]);
    eventually(SOON, "it waits", || log.log().contains(&named));
    drop(other);
    let log = Log::listening(log);
    assert_eq!(say(log.port(), "anna", "one").status, 200);
}

#[test]
fn an_at_sign_in_a_password_is_refused_and_not_shown() {
    let store = Store::Url("postgresql://me:top@secret@127.0.0.1:9/log".into());
    let mut log = store.spawn(&["--database-timeout", "300ms"], &[]);
    assert_eq!(log.wait_exit(SOON), 1);
    let said = log.log();
    assert!(said.contains("%40") && !said.contains("secret"), "{said}");
}

#[test]
fn a_role_that_may_not_create_runs_on_a_current_schema() {
    let cluster = cluster(&[]);
    let url = cluster.create("log").unwrap();
    let mut owner = Store::postgres_connection(&url);
    owner.batch_execute("CREATE ROLE reader LOGIN").unwrap();
    let limited = Store::Url(url.replace("postgres@", "reader@"));
    let mut log = limited.spawn(&[], &[]);
    assert_eq!(log.wait_exit(SOON), 1);
    let said = log.log();
    assert!(said.contains("messenger history migrate"), "{said}");
    let mut migrate = Log::migrate(&url);
    assert_eq!(migrate.wait_exit(SOON), 0, "{}", migrate.log());
    owner
        .batch_execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO reader")
        .unwrap();
    let log = limited.replica(&[], &[]);
    assert_eq!(say(log.port(), "anna", "one").status, 200);
}

#[test]
fn of_several_hosts_it_takes_the_one_that_can_be_written() {
    let clusters = [cluster(&[]), cluster(&[])];
    let urls = clusters.each_ref().map(|it| it.create("log").unwrap());
    Store::postgres_connection(&urls[0])
        .batch_execute("ALTER DATABASE log SET default_transaction_read_only = on")
        .unwrap();
    let ports = urls
        .each_ref()
        .map(|url| url::Url::parse(url).unwrap().port().unwrap());
    let both = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/log",
        ports[0], ports[1]
    );
    let log = Store::Url(both).replica(&[], &[]);
    assert_eq!(say(log.port(), "anna", "one").status, 200);
    assert_eq!(Store::Url(urls[1].clone()).check(&[]), 1);
}

#[test]
fn a_commit_is_synchronous_and_no_stricter_setting_is_lowered() {
    let cluster = cluster(&[]);
    for (default, expected) in [("off", "on"), ("remote_apply", "remote_apply")] {
        let url = cluster.create(default).unwrap();
        let store = Store::Url(url.clone());
        drop(store.replica(&[], &[]));
        Store::postgres_connection(&url)
            .batch_execute(&format!(
                "ALTER DATABASE \"{default}\" SET synchronous_commit = '{default}';
                 CREATE TABLE seen (setting text);
                 CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     INSERT INTO seen VALUES (current_setting('synchronous_commit'));
                     RETURN NULL;
                 END $$;
                 CREATE TRIGGER see AFTER INSERT ON messages EXECUTE FUNCTION see();"
            ))
            .unwrap();
        let log = store.replica(&[], &[]);
        assert_eq!(say(log.port(), "anna", "one").status, 200);
        let mut seen = Store::postgres_connection(&url);
        let seen: String = seen
            .query_one("SELECT setting FROM seen", &[])
            .unwrap()
            .get(0);
        assert_eq!(seen, expected);
    }
}
