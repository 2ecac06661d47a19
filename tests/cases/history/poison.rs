//! Messages that the database refuses, among those that it takes.

use std::thread;

use crate::support::SOON;
use crate::support::history::{Store, say};

#[test]
fn a_message_that_the_database_refuses_holds_up_no_other() {
    let store = Store::postgres();
    let log = store.replica(&[], &[]);
    assert_eq!(say(log.port(), "anna", "first").status, 200);
    let mut other = Store::postgres_connection(store.url().unwrap());
    let refuse = "ALTER TABLE messages ADD CONSTRAINT refused CHECK (text <> 'poison')";
    other.batch_execute(refuse).unwrap();
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let port = log.port();
            thread::spawn(move || {
                let text = if worker == 0 { "poison" } else { "good" };
                let status = |_| say(port, "anna", text).status;
                (text, (0..50).map(status).collect::<Vec<_>>())
            })
        })
        .collect();
    for worker in workers {
        let (text, statuses) = worker.join().unwrap();
        let expected = if text == "good" { 200 } else { 400 };
        assert_eq!(statuses, vec![expected; 50], "{text}");
    }
    let answer = say(log.port(), "anna", "poison");
    assert!(answer.body.contains("refused"), "{}", answer.body);
    assert_eq!(store.check(&[]), 1 + 7 * 50);
}

#[test]
fn a_database_that_is_not_utf_8_is_refused_at_the_start() {
    let server = Store::postgres();
    let mut admin = Store::postgres_connection(server.url().unwrap());
    let name = format!("latin1_{}", std::process::id());
    admin
        .batch_execute(&format!(
            "CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        ))
        .unwrap();
    let mut url = url::Url::parse(server.url().unwrap()).unwrap();
    url.set_path(&name);
    let mut log = Store::Url(url.into()).spawn(&[], &[]);
    assert_eq!(log.wait_exit(SOON), 1);
    assert!(log.log().contains("LATIN1"), "{}", log.log());
}

#[test]
fn a_sender_that_the_index_cannot_hold_is_no_setting() {
    let mut log = Store::sqlite().spawn(&["--max-sender-bytes", "8192"], &[]);
    assert_eq!(log.wait_exit(SOON), 2);
    assert!(log.log().contains("2048"), "{}", log.log());
}
