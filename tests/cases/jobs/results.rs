//! Where results are: the same on SQLite and on PostgreSQL.

use messenger::fanout::clock::Timestamp;
use messenger::jobs::job::{Filter, Job, State};
use messenger::jobs::results::{FIRST, JobStore, Place, open};

use crate::support::history::Store;
use crate::support::pgbouncer::{PgBouncer, TRANSACTION};
use crate::support::postgres::{Database, cluster, commits_wait_for_nobody};

/// A test for each kind of store, which is empty.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(super::open(&super::Place::Folder(folder.path().into())).unwrap());
            })*
        }
        mod postgres {
            $(#[test] fn $name() {
                let database = super::Database::new();
                super::$name(super::open(&super::Place::Postgres(database.url.clone())).unwrap());
            })*
        }
    };
}

on_both_databases!(
    the_first_result_counts,
    lists_newest_first_and_keeps_every_byte,
    only_the_dead_come_back,
    old_results_are_deleted_and_what_is_open_is_not,
);

#[test]
fn what_is_stored_is_committed_whatever_the_sessions_of_a_pooler_have_been_told() {
    let cluster = cluster(&[]);
    let url = cluster.create("jobs").unwrap();
    let pooler = PgBouncer::with(&url, TRANSACTION);
    let through = pooler.before(&url);
    let mut store = open(&Place::Postgres(through.clone())).unwrap();
    store.commit(&[job("first", 1, State::Done, "r")]).unwrap();
    commits_wait_for_nobody(&url);
    let mut neighbour = Store::postgres_connection(&through);
    for _ in 0..10 {
        let off = "SET synchronous_commit = off";
        neighbour.batch_execute(off).unwrap();
    }
    let next = store.commit(&[job("next", 2, State::Done, "r")]);
    assert!(next.is_err(), "it waits for a standby");
}

fn job(id: &str, sent_at: i64, state: State, outcome: &str) -> Job {
    let (result, error) = match state {
        State::Done => (Some(outcome.into()), None),
        _ => (None, Some(outcome.into())),
    };
    Job {
        id: id.into(),
        task: b"fact:3\0\xff".to_vec(),
        state,
        result,
        error,
        attempts: 1,
        worker: Some("w/1".into()),
        queued_at: Some(Timestamp::from_nanos(sent_at)),
        started_at: Some(Timestamp::from_nanos(sent_at + 1)),
        finished_at: None,
    }
}

fn all(store: &mut dyn JobStore, state: Option<State>, limit: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    // As many pages as there are jobs.
    let mut behind = FIRST;
    while jobs.len() < limit {
        let page = store.page(Filter { state, limit: 1 }, behind).unwrap();
        let Some((seat, job)) = page.into_iter().next() else {
            break;
        };
        behind = seat;
        jobs.push(job);
    }
    jobs
}

fn the_first_result_counts(mut store: Box<dyn JobStore>) {
    use State::{Dead, Done, Failed, Queued};
    let cases = [
        (&[(Queued, "no server"), (Done, "6")][..], Done, "6"),
        (&[(Done, "6"), (Done, "7")], Done, "6"),
        (&[(Done, "6"), (Queued, "no server")], Done, "6"),
        (&[(Failed, "wrong"), (Dead, "late")], Failed, "wrong"),
        (&[(Queued, "no server"), (Dead, "often")], Dead, "often"),
        (&[(Dead, "often"), (Done, "6")], Done, "6"),
        (&[(Dead, "often"), (Queued, "no server")], Dead, "often"),
    ];
    for (number, (reports, state, said)) in cases.into_iter().enumerate() {
        let id = number.to_string();
        for (started_at, (state, outcome)) in (10..).zip(reports) {
            let mut report = job(&id, 5, *state, outcome);
            report.started_at = Some(Timestamp::from_nanos(started_at));
            store.commit(&[report]).unwrap();
        }
        let kept = store.find(&id).unwrap().unwrap();
        assert_eq!(kept.state, state, "{reports:?}");
        let first = Some(Timestamp::from_nanos(10));
        assert_eq!(kept.started_at, first, "{reports:?}");
        let outcome = kept.result.or(kept.error);
        assert_eq!(outcome.as_deref(), Some(said), "{reports:?}");
    }
}

fn lists_newest_first_and_keeps_every_byte(mut store: Box<dyn JobStore>) {
    let mut unsaid = job("c", 30, State::Failed, "wrong");
    unsaid.queued_at = None;
    let jobs = [
        job("a", 10, State::Done, "6"),
        unsaid,
        job("b", 20, State::Done, "7"),
    ];
    store.commit(&jobs).unwrap();
    let [a, c, b] = jobs;
    assert_eq!(all(&mut *store, None, 9), [c.clone(), b.clone(), a]);
    assert_eq!(all(&mut *store, Some(State::Done), 1), [b]);
    assert_eq!(all(&mut *store, Some(State::Failed), 9), [c]);
}

fn only_the_dead_come_back(mut store: Box<dyn JobStore>) {
    let jobs = [
        job("dead", 1, State::Dead, "often"),
        job("done", 2, State::Done, "6"),
    ];
    store.commit(&jobs).unwrap();
    let ids = ["dead", "done", "nobody"].map(str::to_owned);
    store.revive(&ids).unwrap();
    let known = store.find("dead").unwrap().unwrap();
    assert_eq!((known.state, known.attempts), (State::Queued, 0));
    assert_eq!((known.error, store.retried().unwrap()), (None, 0));
    store
        .commit(&[job("x", 3, State::Queued, "no server")])
        .unwrap();
    assert_eq!(store.retried().unwrap(), 1);
    assert_eq!(store.find("done").unwrap().unwrap().state, State::Done);
    assert_eq!(store.find("nobody").unwrap(), None);
}

fn old_results_are_deleted_and_what_is_open_is_not(mut store: Box<dyn JobStore>) {
    let jobs = [
        job("dead", 1, State::Dead, "often"),
        job("first", 2, State::Done, "6"),
        job("queued", 3, State::Queued, "no server"),
        job("second", 4, State::Failed, "wrong"),
        job("new", 5, State::Done, "6"),
    ];
    store.commit(&jobs).unwrap();
    let before = Timestamp::from_nanos(5);
    let mut deleted = || store.prune(before, 1).unwrap();
    assert_eq!([deleted(), deleted(), deleted()], [1, 1, 0]);
    let left = all(&mut *store, None, 9);
    let left: Vec<_> = left.iter().map(|job| &*job.id).collect();
    assert_eq!(left, ["new", "queued", "dead"]);
}
