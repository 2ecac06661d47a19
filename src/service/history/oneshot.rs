//! Where one request waits for its answer, and the agreement on who gives up.
//!
//! A condition variable, not a channel: a channel's receiver looks and yields
//! many times before it sleeps, and 64 lanes that do so are a good part of the
//! load on a busy machine.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::store::history::Stored;

/// One question's way, in this order or to [`State::GivenUp`].
enum State<A> {
    Queued,
    Begun,
    Answered(A),
    GivenUp,
}

/// Shared by the one who asks and the one who answers.
pub struct Oneshot<A> {
    state: Mutex<State<A>>,
    answered: Condvar,
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
    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_wanted(&self) -> bool {
        !matches!(*self.state(), State::GivenUp)
    }

    /// To be asked before the task is run: false if nobody waits for it any more, who
    /// has been told then that it will not be done.
    pub fn begin(&self) -> bool {
        let mut state = self.state();
        let wanted = matches!(*state, State::Queued);
        if wanted {
            *state = State::Begun;
        }
        wanted
    }

    /// Of no effect if nobody waits any more.
    pub fn answer(&self, answer: A) {
        let mut state = self.state();
        if matches!(*state, State::Begun) {
            *state = State::Answered(answer);
            drop(state);
            self.answered.notify_one();
        }
    }

    /// Blocks until there is an answer, at most until then.
    ///
    /// # Errors
    /// No answer in time: [`Stored::No`] if the task had not begun, which it
    /// then never will.
    pub fn wait(&self, deadline: Instant) -> Result<A, Stored> {
        let mut state = self.state();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let open = matches!(*state, State::Queued | State::Begun);
            if !open || left.is_zero() {
                break;
            }
            let woken = self.answered.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        match std::mem::replace(&mut *state, State::GivenUp) {
            State::Answered(answer) => Ok(answer),
            State::Queued => Err(Stored::No),
            State::Begun | State::GivenUp => Err(Stored::Unknown),
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

        let answer = Oneshot::default();
        assert!(answer.is_wanted() && answer.begin() && !answer.begin());
        assert_eq!(answer.wait(Instant::now()), Err(Stored::Unknown));
        answer.answer(());
        assert_eq!(answer.wait(Instant::now()), Err(Stored::Unknown));

        // An answer that came in time is taken, however late one looks.
        let answer = Oneshot::default();
        assert!(answer.begin());
        answer.answer(());
        assert_eq!(answer.wait(Instant::now()), Ok(()));
    }
}
