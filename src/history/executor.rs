//! A thread with a database connection of its own, and its bounded queue.
//!
//! Owns the connection: it is opened on the first request, dropped after an error,
//! and reopened with backoff. It must not know HTTP.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::database::Database;
use super::oneshot::Oneshot;
use crate::db::BACKOFF;
use crate::db::log::{Failure, Log, Stored};
use crate::error::{Code, Error};
use crate::retry::{Retry, supervised};
use crate::sync::{lock, spawn};

/// How long a shutdown waits for the thread, which may be in a transaction.
const JOIN_WAIT: Duration = Duration::from_millis(400);

/// One kind of operation on the database: the request, its answer, and how to run
/// it.
pub trait Operation: Sized + Send + 'static {
    type Answer: Send + 'static;
    /// Most operations in one batch.
    const TOGETHER: usize;

    /// One answer for each of the batch, in its order.
    ///
    /// # Errors
    /// What the database says; the batch is as it was before.
    fn run(log: &mut dyn Log, batch: &mut Vec<Self>) -> Result<Vec<Self::Answer>, Failure>;

    /// What an error message adds about the outcome.
    fn consequence(stored: Stored) -> &'static str;
}

/// The caller of one operation waits here.
type Answer<T> = Arc<Oneshot<Result<<T as Operation>::Answer, Error>>>;

struct Queued<T: Operation> {
    operation: T,
    answer: Answer<T>,
}

/// The queue, and the thread as an owned value.
pub struct Executor<T: Operation> {
    /// `None` after the end.
    queue: Mutex<Option<Sender<Queued<T>>>>,
    /// Disconnected by the thread at its end.
    over: Receiver<()>,
    timeout: Duration,
}

impl<T: Operation> Executor<T> {
    /// Starts the thread; at most `capacity` may wait for it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        name: &str,
        database: &Database,
        capacity: usize,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        let (queue, queued) = bounded(capacity);
        let (over_sender, over) = bounded(0);
        let mut worker = Worker {
            database: database.clone(),
            together: capacity.min(T::TOGETHER),
            queued,
            store: None,
            retry: Retry::new(BACKOFF.0, BACKOFF.1),
            _over: over_sender,
        };
        spawn(name, move || supervised(|| worker.run()))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            over,
            timeout,
        })
    }

    /// Blocks until the operation is done, at most for the timeout.
    ///
    /// # Errors
    /// `Unavailable`, which says whether something may have been stored.
    pub fn ask(&self, operation: T) -> Result<T::Answer, Error> {
        let Some(queue) = lock(&self.queue).clone() else {
            return Err(unavailable::<T>("shutting down", Stored::No));
        };
        let deadline = Instant::now() + self.timeout;
        let answer = Arc::new(Oneshot::default());
        let queued = Queued {
            operation,
            answer: answer.clone(),
        };
        let late = |stored| {
            let late = "the database did not answer in time";
            Err(unavailable::<T>(late, stored))
        };
        if queue.send_deadline(queued, deadline).is_err() {
            return late(Stored::No);
        }
        answer.wait(deadline).unwrap_or_else(late)
    }

    /// Ends the thread; it is not waited for longer than [`JOIN_WAIT`].
    pub fn shut_down(&self) {
        *lock(&self.queue) = None;
        if self.over.recv_timeout(JOIN_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a thread still waits for the database; shutting down without it");
        }
    }
}

fn unavailable<T: Operation>(reason: &str, stored: Stored) -> Error {
    let consequence = T::consequence(stored);
    Error::new(Code::Unavailable, format!("{reason}{consequence}"))
}

/// The thread's side.
struct Worker<T: Operation> {
    database: Database,
    together: usize,
    queued: Receiver<Queued<T>>,
    store: Option<Box<dyn Log>>,
    retry: Retry,
    _over: Sender<()>,
}

impl<T: Operation> Worker<T> {
    fn run(&mut self) {
        while let Ok(first) = self.queued.recv() {
            self.store.take_if(|store| !store.is_open());
            while self.store.is_none() && first.answer.is_wanted() {
                self.open();
            }
            if self.store.is_none() {
                // The first caller has stopped waiting.
                continue;
            }
            let queued = self.queued.try_iter().take(self.together - 1);
            let queued = std::iter::once(first).chain(queued);
            let wanted = queued.filter(|queued| queued.answer.begin());
            let (batch, answers): (Vec<_>, Vec<_>) = wanted
                .map(|queued| (queued.operation, queued.answer))
                .unzip();
            if !batch.is_empty() {
                self.serve(batch, &answers);
            }
        }
    }

    /// What the database refuses is answered so, and holds up nothing else: the others
    /// of its batch are run again, each by itself.
    fn serve(&mut self, mut batch: Vec<T>, answers: &[Answer<T>]) {
        let Some(store) = &mut self.store else {
            let lost = || unavailable::<T>("the database failed", Stored::No);
            return answers.iter().for_each(|it| it.answer(Err(lost())));
        };
        match catch_unwind(AssertUnwindSafe(|| T::run(store.as_mut(), &mut batch))) {
            Ok(Ok(done)) => {
                for (answer, done) in answers.iter().zip(done) {
                    answer.answer(Ok(done));
                }
            }
            Ok(Err(failure)) if failure.is_of_the_data() => match answers {
                [answer] => {
                    let reason = format!("the database refuses it: {}", failure.reason);
                    answer.answer(Err(Error::invalid(reason)));
                }
                answers => {
                    for (operation, answer) in batch.into_iter().zip(answers) {
                        self.serve(vec![operation], std::slice::from_ref(answer));
                    }
                }
            },
            Ok(Err(failure)) => self.failed(&failure, answers),
            // A bug that must not end the service.
            Err(_) => {
                self.store = None;
                tracing::error!("a database connection panicked; opening it again");
            }
        }
    }

    fn failed(&mut self, failure: &Failure, answers: &[Answer<T>]) {
        let Failure { reason, stored } = failure;
        self.store = None;
        tracing::error!(error = %reason, ?stored, "the database failed; opening it again");
        for answer in answers {
            answer.answer(Err(unavailable::<T>("the database failed", *stored)));
        }
    }

    /// One try, and a wait if it failed.
    fn open(&mut self) {
        match self.database.open() {
            Ok(store) => {
                if self.retry.succeeded() {
                    tracing::info!("the database is back");
                }
                self.store = Some(store);
            }
            Err(error) => {
                if self.retry.is_news(&error) {
                    tracing::warn!(%error, "cannot open the database; trying again");
                }
                // Nothing notifies us when the database is back.
                thread::sleep(self.retry.next_wait());
            }
        }
    }
}
