//! One cell of the table: a check, run with a bound.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::case::{Case, settle};
use super::check::Check;
use super::subject::Subject;
use super::trouble::{Seen, Trouble};
use crate::compare::report::Outcome;

/// What a check gets to notice its own deadline.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the check in a thread of its own, and leaves that behind if it does not
/// come back. To free the thread, end the subject.
pub fn run(check: &'static Check, subject: &Arc<Subject>) -> Outcome {
    settle(subject);
    let bound = Duration::from_secs(check.seconds);
    let case = Case {
        subject: subject.clone(),
        deadline: Instant::now() + bound,
    };
    let (sender, receiver) = bounded(1);
    let thread = thread::Builder::new().name(check.name.into());
    let spawned = thread.spawn(move || {
        let _ = sender.send((check.run)(&case));
    });
    let seen = match spawned.map(|_| receiver.recv_timeout(bound + GRACE)) {
        Ok(Ok(seen)) => seen,
        Ok(Err(RecvTimeoutError::Timeout)) => Err(Trouble::Hang),
        Ok(Err(RecvTimeoutError::Disconnected)) => {
            Err(Trouble::Said("the check itself has failed".into()))
        }
        Err(error) => Err(Trouble::Skip(error.to_string())),
    };
    outcome(check, seen, subject)
}

fn outcome(check: &Check, seen: Seen, subject: &Subject) -> Outcome {
    let passed = seen.as_ref().is_ok_and(|got| got == check.expected);
    let ended = if passed {
        subject.ended()
    } else {
        subject.ended_soon()
    };
    match seen {
        Err(Trouble::Skip(why)) => Outcome::Skipped { why },
        _ if ended.is_some() => Outcome::Dies {
            how: ended.unwrap_or_default(),
        },
        _ if passed => Outcome::Pass,
        Err(Trouble::Hang) => Outcome::Hangs {
            seconds: check.seconds,
        },
        Ok(got) | Err(Trouble::Said(got)) => Outcome::Differs {
            expected: check.expected.into(),
            got,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::compare::behaviour::subject::Slot;
    use crate::compare::load::process::{Program, Ready};
    use crate::compare::peer::{Peer, Toolbox};

    /// A server that is this shell script: it has to write a line first.
    fn script(script: &str) -> Arc<Subject> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let program = Program::start(command, &Ready::Line).unwrap();
        Arc::new(Subject {
            toolbox: Toolbox::default(),
            server: Some(Slot::new(&Peer::Python, program)),
            bridge: None,
        })
    }

    const LIVES: &str = "echo :1; exec sleep 60";

    #[test]
    fn a_check_that_does_not_come_back_hangs() {
        static BLOCKS: Check = Check::new("blocks", "", "", |_| {
            loop {
                thread::park();
            }
        })
        .within(1);
        let subject = script(LIVES);
        let started = Instant::now();
        assert_eq!(run(&BLOCKS, &subject), Outcome::Hangs { seconds: 1 });
        assert!(started.elapsed() < Duration::from_secs(5));
        // Its thread still holds the subject, and does not keep it alive.
        subject.end();
        assert_eq!(Arc::strong_count(&subject), 2);
        assert_eq!(subject.ended(), None, "it was ended on purpose");
    }

    #[test]
    fn a_check_that_finds_nothing_until_its_deadline_hangs() {
        static WAITS: Check = Check::new("waits", "", "", |_| Err(Trouble::Hang));
        assert_eq!(run(&WAITS, &script(LIVES)), Outcome::Hangs { seconds: 10 });
    }

    #[test]
    fn a_subject_that_ends_dies_whatever_was_seen() {
        static WRONG: Check = Check::new("wrong", "", "right", |_| Ok("wrong".into()));
        static RIGHT: Check = Check::new("right", "", "right", |case| {
            while case.subject.ended().is_none() {
                case.pause()?;
            }
            Ok("right".into())
        });
        let dies = |how: &str| Outcome::Dies { how: how.into() };
        assert_eq!(run(&WRONG, &script("echo :1; exit 3")), dies("exit code 3"));
        assert_eq!(
            run(&RIGHT, &script("echo :1; kill -9 $$")),
            dies("signal 9")
        );
    }

    #[test]
    fn what_was_seen_is_compared_with_the_promise() {
        static SEES: Check = Check::new("sees", "", "right", |_| Ok("wrong".into()));
        static SAYS: Check =
            Check::new("says", "", "right", |_| Err(Trouble::Said("right".into())));
        static SKIPS: Check =
            Check::new("skips", "", "", |case| case.bridge().map(|_| String::new()));
        static FAILS: Check = Check::new("fails", "", "", |_| panic!("on purpose"));
        let differs = |got: &str, expected: &str| Outcome::Differs {
            expected: expected.into(),
            got: got.into(),
        };
        let subject = script(LIVES);
        assert_eq!(run(&SEES, &subject), differs("wrong", "right"));
        // What breaks a check off is no observation, whatever its words.
        assert_eq!(run(&SAYS, &subject), differs("right", "right"));
        assert!(matches!(run(&SKIPS, &subject), Outcome::Skipped { .. }));
        assert_eq!(
            run(&FAILS, &subject),
            differs("the check itself has failed", "")
        );
    }
}
