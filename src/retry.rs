//! Retry: exponential backoff with jitter, when to log an error, and when to stop.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// Capped exponential backoff with equal jitter: half of each wait is fixed,
/// the other half random, so that clients that lost one server do not come
/// back in step. Source: M. Brooker, "Exponential Backoff And Jitter", 2015.
#[derive(Debug)]
struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            next: first.min(cap),
        }
    }

    /// The wait before the next try; `random` is uniform in 0..1.
    fn wait(&mut self, random: f64) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.cap);
        let half = step / 2;
        half + half.mul_f64(random.clamp(0.0, 1.0))
    }

    fn reset(&mut self) {
        self.next = self.first.min(self.cap);
    }
}

/// The pause after a panic, which also bounds the log lines about it.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait after a refusal.
const REFUSED: Duration = Duration::from_secs(4);

/// The work of a long-lived thread, which must not die alone: after a panic it is
/// logged and begun again, a second later, with what it has left whole.
pub fn supervised<T>(mut work: impl FnMut() -> T) -> T {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(end) => return end,
            Err(_) => tracing::error!("this thread panicked; its work begins again"),
        }
        thread::sleep(PANIC_PAUSE);
    }
}

/// A loop that tries something until it works. Belongs to one thread.
#[derive(Debug)]
pub struct Retry {
    backoff: Backoff,
    /// The error that was logged last.
    told: Option<String>,
}

/// The loop was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Retry {
    /// Waits between half of `first` and `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            backoff: Backoff::new(first, cap),
            told: None,
        }
    }

    /// Whether to log this error: one that repeats is logged once.
    pub fn is_news(&mut self, error: &impl Display) -> bool {
        let error = error.to_string();
        let news = self.told.as_ref() != Some(&error);
        self.told = Some(error);
        news
    }

    /// To be called after a success; returns whether an error was logged before.
    pub fn succeeded(&mut self) -> bool {
        self.backoff.reset();
        self.told.take().is_some()
    }

    /// After a refusal, which a person has to mend: the next wait is seconds long.
    pub fn slow_down(&mut self) {
        self.backoff.next = REFUSED;
    }

    /// The next wait, for callers that do something else meanwhile.
    pub fn next_wait(&mut self) -> Duration {
        self.backoff.wait(fastrand::f64())
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// When `stop` is disconnected or brings something, and then at once.
    pub fn wait<T>(&mut self, stop: &Receiver<T>) -> Result<(), Stopped> {
        match stop.recv_timeout(self.next_wait()) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supervised_work_begins_again_after_a_panic() {
        let mut tries = 0;
        let end = supervised(|| {
            tries += 1;
            assert!(tries > 1, "on purpose");
            tries
        });
        assert_eq!(end, 2);
    }
    use crossbeam_channel::bounded;
    use proptest::prelude::*;

    #[test]
    fn doubles_to_the_cap_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let waits: Vec<_> = (0..4).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), Duration::from_millis(50));
    }

    #[test]
    fn the_same_error_is_told_once_until_it_worked_again() {
        let mut retry = Retry::new(Duration::ZERO, Duration::ZERO);
        let told: Vec<_> = ["a", "a", "b", "a"].map(|e| retry.is_news(&e)).into();
        assert_eq!(told, [true, false, true, true]);
        assert!(retry.succeeded());
        assert!(!retry.succeeded());
        assert!(retry.is_news(&"a"));
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let mut retry = Retry::new(Duration::from_secs(3600), Duration::from_secs(3600));
        let (stop, stopped) = bounded::<()>(0);
        drop(stop);
        assert_eq!(retry.wait(&stopped), Err(Stopped));
        let mut retry = Retry::new(Duration::ZERO, Duration::ZERO);
        let (_stop, stopped) = bounded::<()>(0);
        assert_eq!(retry.wait(&stopped), Ok(()));
    }

    proptest! {
        #[test]
        fn stays_between_half_a_step_and_the_cap(randoms in prop::collection::vec(0.0f64..1.0, 1..50)) {
            let cap = Duration::from_secs(1);
            let mut backoff = Backoff::new(Duration::from_millis(50), cap);
            for random in randoms {
                let wait = backoff.wait(random);
                prop_assert!(wait >= Duration::from_millis(25) && wait <= cap);
            }
        }
    }
}
