//! What a check is, and how it is run with a bound.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::case::Case;
use super::subject::Subject;
use super::trouble::{Tried, Trouble, said};
use crate::compare::report::Outcome;
use crate::sync::spawn;

/// What a check gets to notice its own deadline.
const GRACE: Duration = Duration::from_secs(2);

/// How long a bridge gets to come to a known state before a check.
const SETTLE: Duration = Duration::from_secs(10);

/// A promise of the contract as something to try.
pub struct Check {
    /// For programs, unique among all checks.
    pub name: &'static str,
    /// What is done and looked at, one sentence.
    pub title: &'static str,
    /// What is observed where the promise is kept.
    pub expected: &'static str,
    /// How long it may take.
    seconds: u64,
    /// Its subject is of no use to the next check.
    pub spoils: bool,
    run: Arc<dyn Fn(&Case) -> Tried + Send + Sync>,
}

/// The checks of a table, in its order.
#[derive(Default)]
pub struct Checks {
    title: &'static str,
    pub all: Vec<Check>,
}

impl Checks {
    /// What the next check does and looks at.
    pub fn title(&mut self, title: &'static str) {
        self.title = title;
    }

    /// Adds a check of ten seconds that leaves its subject as it was.
    pub fn check(
        &mut self,
        name: &'static str,
        expected: &'static str,
        run: impl Fn(&Case) -> Tried + Send + Sync + 'static,
    ) -> &mut Check {
        self.all.push(Check {
            name,
            title: self.title,
            expected,
            seconds: 10,
            spoils: false,
            run: Arc::new(run),
        });
        let last = self.all.len() - 1;
        &mut self.all[last]
    }
}

impl Check {
    /// It may take so many seconds.
    pub fn within(&mut self, seconds: u64) -> &mut Self {
        self.seconds = seconds;
        self
    }

    /// The next check gets another subject.
    pub fn spoils(&mut self) {
        self.spoils = true;
    }

    /// Runs it in a thread of its own, and leaves that behind if it does not come
    /// back. To free the thread, end the subject.
    pub fn run(&self, subject: &Arc<Subject>) -> Outcome {
        let case = |time| Case {
            subject: subject.clone(),
            deadline: Instant::now() + time,
            expected: self.expected,
        };
        if subject.bridge.is_some() {
            // The check runs in any case, and finds for itself what does not work.
            let _ = case(SETTLE).settle();
        }
        let bound = Duration::from_secs(self.seconds);
        let (run, case) = (self.run.clone(), case(bound));
        let (sender, receiver) = bounded(1);
        let spawned = spawn(self.name, move || drop(sender.send(run(&case))));
        let tried = match spawned.map(|_| receiver.recv_timeout(bound + GRACE)) {
            Ok(Ok(tried)) => tried,
            Ok(Err(RecvTimeoutError::Timeout)) => Err(Trouble::Hang),
            Ok(Err(RecvTimeoutError::Disconnected)) => said("the check itself has failed"),
            Err(error) => Err(Trouble::Skip(error.to_string())),
        };
        let ended = match tried {
            Ok(()) => subject.ended(),
            Err(_) => subject.ended_soon(),
        };
        let seconds = self.seconds;
        match (tried, ended) {
            (Err(Trouble::Skip(why)), _) => Outcome::Skipped { why },
            (_, Some(how)) => Outcome::Dies { how },
            (Ok(()), None) => Outcome::Pass,
            (Err(Trouble::Hang), None) => Outcome::Hangs { seconds },
            (Err(Trouble::Said(got)), None) => Outcome::Differs {
                expected: self.expected.into(),
                got,
            },
        }
    }
}
