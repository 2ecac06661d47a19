//! A place for one answer, on which the caller's timeout and the start of the
//! operation exclude each other.
//!
//! Made of a mutex and a condition variable: the caller waits for a commit, and a
//! channel would spin before it sleeps, which costs a request a tenth.

use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::db::log::Stored;
use crate::sync::{lock, unpoisoned};

/// Shared by the one who asks and the one who answers.
pub struct Oneshot<A> {
    state: Mutex<State<A>>,
    answered: Condvar,
}

enum State<A> {
    /// The operation has not begun, and the caller waits.
    Queued,
    Begun,
    Answered(A),
    /// The caller has its answer, or waits no more.
    Over,
}

impl<A> Default for Oneshot<A> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State::Queued),
            answered: Condvar::new(),
        }
    }
}

impl<A> Oneshot<A> {
    /// Before [`Oneshot::begin`]: whether the caller still waits.
    pub fn is_wanted(&self) -> bool {
        matches!(*lock(&self.state), State::Queued)
    }

    /// To be called before the operation runs: false if the caller has timed out,
    /// and was told that nothing was stored.
    pub fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let wanted = matches!(*state, State::Queued);
        if wanted {
            *state = State::Begun;
        }
        wanted
    }

    /// Sends the answer; to be called once, after [`Oneshot::begin`]. Ignored if the
    /// caller has timed out.
    pub fn answer(&self, answer: A) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Begun) {
            *state = State::Answered(answer);
            drop(state);
            self.answered.notify_one();
        }
    }

    /// Blocks until there is an answer, at most until then.
    ///
    /// # Errors
    /// No answer in time: [`Stored::No`] if the operation had not begun, which it
    /// then never will.
    pub fn wait(&self, deadline: Instant) -> Result<A, Stored> {
        let left = deadline.saturating_duration_since(Instant::now());
        let unanswered = |state: &mut State<A>| !matches!(state, State::Answered(_));
        let waited = self
            .answered
            .wait_timeout_while(lock(&self.state), left, unanswered);
        let (mut state, _) = unpoisoned(waited);
        match std::mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Ok(answer),
            State::Queued => Err(Stored::No),
            State::Begun | State::Over => Err(Stored::Unknown),
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
