//! How long to wait before the next try.

use std::time::Duration;

/// Capped exponential backoff with equal jitter: half of each wait is fixed,
/// the other half random, so that clients that lost one server do not come
/// back in step. Source: M. Brooker, "Exponential Backoff And Jitter", 2015.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            next: first.min(cap),
        }
    }

    /// The wait before the next try; `random` is uniform in 0..1.
    pub fn wait(&mut self, random: f64) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.cap);
        let half = step / 2;
        half + half.mul_f64(random.clamp(0.0, 1.0))
    }

    /// To be called after a success.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.cap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_to_the_cap_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let waits: Vec<_> = (0..4).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), Duration::from_millis(50));
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
