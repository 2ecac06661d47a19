//! What a check is.

use super::case::Case;
use super::trouble::Seen;

/// A promise of the contract as something to try.
pub struct Check {
    /// For programs, unique among all checks.
    pub name: &'static str,
    /// What is done and looked at, one sentence.
    pub title: &'static str,
    /// What is observed where the promise is kept.
    pub expected: &'static str,
    /// How long it may take.
    pub seconds: u64,
    /// Its subject is of no use to the next check.
    pub spoils: bool,
    pub run: fn(&Case) -> Seen,
}

impl Check {
    /// A check of ten seconds that leaves its subject as it was.
    pub const fn new(
        name: &'static str,
        title: &'static str,
        expected: &'static str,
        run: fn(&Case) -> Seen,
    ) -> Self {
        Self {
            name,
            title,
            expected,
            seconds: 10,
            spoils: false,
            run,
        }
    }

    /// It may take so many seconds.
    pub const fn within(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    /// The next check gets another subject.
    pub const fn spoils(mut self) -> Self {
        self.spoils = true;
        self
    }
}
