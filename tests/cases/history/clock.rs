//! Clocks that step, by libfaketime.

use std::path::Path;
use std::process::Command;

use crate::support::history::{Store, assert_sound, errors, load, say};
use crate::support::http::Answer;
use crate::support::nanos;
use crate::support::postgres::cluster;
use crate::support::{heavy, need};

/// Where Debian puts it.
fn library() -> String {
    let machine = Command::new("uname").arg("-m").output().unwrap().stdout;
    let machine = String::from_utf8(machine).unwrap();
    let file = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        machine.trim()
    );
    need(&format!("libfaketime ({file})"), Path::new(&file).exists());
    file
}

/// A clock as far from the true one as its file says, and what makes a program
/// believe it.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    fn new(offset: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL runs as another user.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let clock = Self { folder };
        clock.step(offset);
        clock
    }

    fn file(&self) -> String {
        self.folder
            .path()
            .join("offset")
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn step(&self, offset: &str) {
        // In one step: it may be read at any time.
        let new = self.folder.path().join("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.file()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_DONT_RESET", "1".into()),
        ]
    }
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn sent_at(answer: &Answer) -> i64 {
    let messages = answer.json();
    nanos(
        messages.as_array().unwrap().last().unwrap()["sentAt"]
            .as_str()
            .unwrap(),
    )
}

const HOUR: i64 = 3_600_000_000_000;

/// Steps the clock that counts forth and back in the middle of a load.
fn stepped(store: &Store, clock: &Clock, replicas: &[crate::support::programs::Program]) {
    let port = replicas[0].port();
    let before = sent_at(&say(port, "a", "before"));
    let outcome = load(replicas, 40, &|done| match done {
        500 => clock.step("+2h"),
        1000 => clock.step("-5h"),
        1500 => clock.step("+1h"),
        _ => {}
    });
    assert_sound(&outcome);
    // PostgreSQL's own time limits count by this clock, so a step may end a
    // transaction; it is rolled back.
    assert!(errors(&outcome) < 200, "{:?}", outcome.replicas);
    assert_eq!(store.check(&outcome.answered), outcome.answered.len() + 1);
    let after = sent_at(&say(port, "a", "after"));
    let gone = after - before;
    assert!(
        (2 * HOUR..2 * HOUR + HOUR / 6).contains(&gone),
        "it was believed: {gone}"
    );
}

#[test]
fn dates_do_not_fall_when_the_clock_steps_on_sqlite() {
    let _machine = heavy();
    let (store, clock) = (Store::sqlite(), Clock::new("+0"));
    let variables = clock.variables();
    let start = |_| store.replica(&[], &borrowed(&variables));
    let replicas: Vec<_> = (0..2).map(start).collect();
    stepped(&store, &clock, &replicas);
}

#[test]
fn dates_do_not_fall_when_the_clock_steps_on_postgres() {
    let _machine = heavy();
    let clock = Clock::new("+0");
    let cluster = cluster(&borrowed(&clock.variables()));
    let store = Store::Url(cluster.create("log").unwrap());
    // The replicas' own clocks do not count.
    let wrong = Clock::new("-30d");
    let variables = wrong.variables();
    let replicas = [
        store.replica(&[], &borrowed(&variables)),
        store.replica(&[], &[]),
    ];
    stepped(&store, &clock, &replicas);
}
