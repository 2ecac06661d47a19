//! A channel for one answer, on which the caller's timeout and the start of the
//! operation exclude each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::db::log::Stored;

/// Shared by the one who asks and the one who answers.
pub struct Oneshot<A> {
    /// Set when the operation begins, or when the caller times out before that:
    /// the second of them sees it.
    claimed: AtomicBool,
    sender: Sender<A>,
    receiver: Receiver<A>,
}

impl<A> Default for Oneshot<A> {
    fn default() -> Self {
        let (sender, receiver) = bounded(1);
        Self {
            claimed: AtomicBool::new(false),
            sender,
            receiver,
        }
    }
}

impl<A> Oneshot<A> {
    /// Before [`Oneshot::begin`]: whether the caller still waits.
    pub fn is_wanted(&self) -> bool {
        !self.claimed.load(Ordering::Acquire)
    }

    /// To be called before the operation runs: false if the caller has timed out,
    /// and was told that nothing was stored.
    pub fn begin(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// Sends the answer; to be called once. Ignored if the caller has timed out.
    pub fn answer(&self, answer: A) {
        // There is room for one, and this is the one.
        let _ = self.sender.try_send(answer);
    }

    /// Blocks until there is an answer, at most until then.
    ///
    /// # Errors
    /// No answer in time: [`Stored::No`] if the operation had not begun, which it
    /// then never will.
    pub fn wait(&self, deadline: Instant) -> Result<A, Stored> {
        match self.receiver.recv_deadline(deadline) {
            Ok(answer) => Ok(answer),
            Err(_) if self.begin() => Err(Stored::No),
            // The answer may have come at this moment.
            Err(_) => self.receiver.try_recv().map_err(|_| Stored::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_reaches_the_one_who_waits() {
        let answer = Arc::new(Oneshot::default());
        let other = answer.clone();
        let thread = thread::spawn(move || {
            assert!(other.begin());
            other.answer(7);
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(answer.wait(deadline), Ok(7));
        thread.join().unwrap();
    }

    #[test]
    fn who_gives_up_first_is_known_to_both() {
        let answer = Oneshot::<()>::default();
        assert_eq!(answer.wait(Instant::now()), Err(Stored::No));
        assert!(!answer.is_wanted() && !answer.begin());

        let answer = Oneshot::<()>::default();
        assert!(answer.is_wanted() && answer.begin() && !answer.begin());
        assert_eq!(answer.wait(Instant::now()), Err(Stored::Unknown));

        // An answer that came in time is taken, however late one looks.
        let answer = Oneshot::default();
        assert!(answer.begin());
        answer.answer(());
        assert_eq!(answer.wait(Instant::now()), Ok(()));
    }
}
