//! The log when clocks step, by libfaketime.

use crate::support::clock::{Clock, borrowed};
use crate::support::heavy;
use crate::support::history::{Store, assert_sound, errors, load, say};
use crate::support::http::Answer;
use crate::support::nanos;
use crate::support::postgres::cluster;

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
