//! Blocking on the C core's futures from an ordinary thread, with a timeout.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the calling thread until the future is ready, at most `timeout` long
/// when one is given; `None` is the timeout.
pub fn wait<F: Future>(future: F, timeout: Option<Duration>) -> Option<F::Output> {
    let mut future = pin!(future);
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_after_the_timeout_and_not_before() {
        let started = Instant::now();
        let timeout = Duration::from_millis(20);
        assert!(wait(std::future::pending::<()>(), Some(timeout)).is_none());
        assert!(started.elapsed() >= timeout);
        assert_eq!(wait(async { 7 }, Some(Duration::ZERO)), Some(7));
    }
}
