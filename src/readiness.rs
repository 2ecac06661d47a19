//! Whether a process can do its work now: what it needs is there, its last write
//! went well, and it does not drain. `/readyz` of the HTTP ports tells.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::sync::lock;

/// Fine, or what is wrong, for people; without addresses and texts of users.
pub type Checked = Result<(), String>;

type Check = Arc<dyn Fn() -> Checked + Send + Sync>;

/// What one process says of itself; clones share it.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Shared>);

#[derive(Default)]
struct Shared {
    needs: Mutex<Vec<(&'static str, Check)>>,
    /// Why the last write failed, if it did.
    failed: Mutex<Option<String>>,
    failing: AtomicBool,
    trial: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
    draining: AtomicBool,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

impl Readiness {
    /// Ready only while this is fine. It runs on the thread that answers, and may take
    /// a few seconds.
    pub fn needs(&self, name: &'static str, check: impl Fn() -> Checked + Send + Sync + 'static) {
        lock(&self.0.needs).push((name, Arc::new(check)));
    }

    /// How the last write went. Until one goes well again it is not ready.
    pub fn wrote(&self, outcome: Checked) {
        if outcome.is_ok() && !self.0.failing.load(Ordering::Relaxed) {
            return;
        }
        let mut failed = lock(&self.0.failed);
        *failed = outcome.err();
        self.0.failing.store(failed.is_some(), Ordering::Relaxed);
    }

    /// Nobody writes where it is not ready, so this tries to, after a write has failed.
    /// Only the first call has an effect.
    pub fn tries(&self, trial: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.0.trial.set(Box::new(trial));
    }

    /// Whether the last write went well, or one does now. May take a few seconds.
    ///
    /// # Errors
    /// Why it did not.
    pub fn writes(&self) -> Checked {
        if self.0.failing.load(Ordering::Relaxed)
            && let Some(trial) = self.0.trial.get()
            && trial()
        {
            self.wrote(Ok(()));
        }
        let failed = lock(&self.0.failed).clone();
        failed.map_or(Ok(()), Err)
    }

    /// Not ready from now on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Each check by its name; ready if all are fine. May take a few seconds.
    pub fn look(&self) -> Vec<(&'static str, Checked)> {
        let needs = lock(&self.0.needs).clone();
        let mut checks: Vec<_> = needs.iter().map(|(name, check)| (*name, check())).collect();
        checks.push(("write", self.writes()));
        let draining = self.0.draining.load(Ordering::SeqCst);
        let end = if draining {
            Err("about to shut down".into())
        } else {
            Ok(())
        };
        checks.push(("drain", end));
        checks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(readiness: &Readiness) -> Vec<&'static str> {
        let checks = readiness.look().into_iter();
        checks
            .filter_map(|(name, checked)| checked.err().map(|_| name))
            .collect()
    }

    #[test]
    fn a_failed_write_counts_until_one_or_a_trial_goes_well() {
        let readiness = Readiness::default();
        assert!(failing(&readiness).is_empty());
        readiness.wrote(Err("full".into()));
        assert_eq!(failing(&readiness), ["write"]);
        readiness.wrote(Ok(()));
        assert!(failing(&readiness).is_empty());
        let well = Arc::new(AtomicBool::new(false));
        let trial = well.clone();
        readiness.tries(move || trial.load(Ordering::SeqCst));
        readiness.wrote(Err("full".into()));
        assert_eq!(failing(&readiness), ["write"]);
        well.store(true, Ordering::SeqCst);
        assert!(failing(&readiness).is_empty());
    }

    #[test]
    fn what_it_needs_and_the_drain_are_told_by_name() {
        let readiness = Readiness::default();
        readiness.needs("chat", || Ok(()));
        readiness.needs("queue", || Err("not there".into()));
        assert_eq!(failing(&readiness), ["queue"]);
        readiness.drain();
        let names: Vec<_> = readiness.look().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["chat", "queue", "write", "drain"]);
        assert_eq!(failing(&readiness), ["queue", "drain"]);
    }
}
