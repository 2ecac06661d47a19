//! A check's bound: each run ends in time and with the right word, whatever the
//! check or its subject does.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use messenger::compare::behaviour::{Checks, Slot, Subject, Trouble};
use messenger::compare::load::process::Program;
use messenger::compare::peer::{Peer, Toolbox};
use messenger::compare::report::Outcome;

const LIVES: &str = "echo :1; exec sleep 60";

/// A server that is this shell script: it has to write a line first.
fn script(script: &str) -> Arc<Subject> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let program = Program::start(command).unwrap();
    Arc::new(Subject {
        toolbox: Toolbox::default(),
        server: Some(Slot::new(&Peer::Python, program)),
        bridge: None,
    })
}

/// Checks that expect "right".
macro_rules! run {
    ($run:expr, $subject:expr) => {{
        let mut checks = Checks::default();
        checks.check("a check", "right", $run).within(1);
        checks.all[0].run($subject)
    }};
}

fn differs(got: &str) -> Outcome {
    Outcome::Differs {
        expected: "right".into(),
        got: got.into(),
    }
}

#[test]
fn a_check_that_does_not_come_back_hangs() {
    let subject = script(LIVES);
    let started = Instant::now();
    let blocked = run!(
        |_| loop {
            thread::park();
        },
        &subject
    );
    assert_eq!(blocked, Outcome::Hangs { seconds: 1 });
    assert!(started.elapsed() < Duration::from_secs(5));
    // Its thread still holds the subject, and does not keep it alive.
    subject.end();
    assert_eq!(Arc::strong_count(&subject), 2);
    assert_eq!(subject.ended(), None, "it was ended on purpose");
}

#[test]
fn a_check_that_finds_nothing_until_its_deadline_hangs() {
    let nothing = run!(|_| Err(Trouble::Hang), &script(LIVES));
    assert_eq!(nothing, Outcome::Hangs { seconds: 1 });
}

#[test]
fn a_subject_that_ends_dies_whatever_was_seen() {
    let dies = |how: &str| Outcome::Dies { how: how.into() };
    let wrong = run!(|case| case.sees("wrong"), &script("echo :1; exit 3"));
    assert_eq!(wrong, dies("exit code 3"));
    let killed = script("echo :1; kill -9 $$");
    let right = run!(
        |case| {
            while case.subject.ended().is_none() {
                case.pause()?;
            }
            case.sees("right")
        },
        &killed
    );
    assert_eq!(right, dies("signal 9"));
}

#[test]
fn what_was_seen_is_compared_with_the_promise() {
    let subject = script(LIVES);
    assert_eq!(run!(|case| case.sees("right"), &subject), Outcome::Pass);
    assert_eq!(run!(|case| case.sees("wrong"), &subject), differs("wrong"));
    // What breaks a check off is no observation, whatever its words.
    let broken = run!(|_| Err(Trouble::Said("right".into())), &subject);
    assert_eq!(broken, differs("right"));
    let skipped = run!(|case| case.bridge().map(drop), &subject);
    assert!(matches!(skipped, Outcome::Skipped { .. }));
    let failed = run!(|_| panic!("on purpose"), &subject);
    assert_eq!(failed, differs("the check itself has failed"));
}
