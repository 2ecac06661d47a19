//! A thread with a database connection of its own, and the queue before it.
//!
//! Owns the connection's life: it is opened when somebody asks, given up after
//! an error, and opened again with growing waits. It must not know HTTP.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::database::{Database, Failure, HistoryStore, Stored};
use super::oneshot::Oneshot;
use super::server::BACKOFF;
use crate::error::{Code, Error};
use crate::retry::Retry;
use crate::sync::lock;

/// How long the end waits for the thread, which may be in a transaction.
const JOIN_WAIT: Duration = Duration::from_millis(400);

/// One kind of task: what is asked, what is answered, and how.
pub trait Task: Sized + Send + 'static {
    type Answer: Send + 'static;
    /// How many may be done together.
    const TOGETHER: usize;

    /// One answer for each of the batch, in its order.
    ///
    /// # Errors
    /// What the database says.
    fn run(store: &mut dyn HistoryStore, batch: Vec<Self>) -> Result<Vec<Self::Answer>, Failure>;

    /// What a request that got no answer is told behind the reason.
    fn consequence(stored: Stored) -> &'static str;
}

/// Where the answer to one is waited for.
type Answer<T> = Arc<Oneshot<Result<<T as Task>::Answer, Error>>>;

struct Job<T: Task> {
    task: T,
    answer: Answer<T>,
}

/// The queue, and the thread as an owned value.
pub struct Executor<T: Task> {
    /// `None` after the end.
    queue: Mutex<Option<Sender<Job<T>>>>,
    /// Disconnected by the thread at its end.
    over: Receiver<()>,
    patience: Duration,
}

impl<T: Task> Executor<T> {
    /// Starts the thread; at most `capacity` may wait for it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        name: &str,
        database: &Database,
        capacity: usize,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = bounded(capacity);
        let (over_sender, over) = bounded(0);
        let worker = Worker {
            database: database.clone(),
            together: capacity.min(T::TOGETHER),
            jobs,
            store: None,
            retry: Retry::new(BACKOFF.0, BACKOFF.1),
            _over: over_sender,
        };
        thread::Builder::new()
            .name(name.into())
            .spawn(move || worker.run())?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            over,
            patience,
        })
    }

    /// Blocks until the task is done, at most as long as the patience lasts.
    ///
    /// # Errors
    /// `Unavailable`, which says whether something may have been stored.
    pub fn ask(&self, task: T) -> Result<T::Answer, Error> {
        let Some(queue) = self.queue().clone() else {
            return Err(unavailable::<T>("shutting down", Stored::No));
        };
        let deadline = Instant::now() + self.patience;
        let answer = Arc::new(Oneshot::default());
        let job = Job {
            task,
            answer: answer.clone(),
        };
        let late = |stored| {
            let late = "the database did not answer in time";
            Err(unavailable::<T>(late, stored))
        };
        if queue.send_deadline(job, deadline).is_err() {
            return late(Stored::No);
        }
        answer.wait(deadline).unwrap_or_else(late)
    }

    fn queue(&self) -> MutexGuard<'_, Option<Sender<Job<T>>>> {
        lock(&self.queue)
    }

    /// Ends the thread; it is not waited for longer than [`JOIN_WAIT`].
    pub fn shut_down(&self) {
        *self.queue() = None;
        if self.over.recv_timeout(JOIN_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a thread still waits for the database; it is left behind");
        }
    }
}

fn unavailable<T: Task>(reason: &str, stored: Stored) -> Error {
    let consequence = T::consequence(stored);
    Error::new(Code::Unavailable, format!("{reason}{consequence}"))
}

/// The thread's side.
struct Worker<T: Task> {
    database: Database,
    together: usize,
    jobs: Receiver<Job<T>>,
    store: Option<Box<dyn HistoryStore>>,
    retry: Retry,
    _over: Sender<()>,
}

impl<T: Task> Worker<T> {
    fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            self.store.take_if(|store| !store.is_open());
            while self.store.is_none() && first.answer.is_wanted() {
                self.open();
            }
            let Some(store) = &mut self.store else {
                // Nobody waits for the first one any more.
                continue;
            };
            let queued = self.jobs.try_iter().take(self.together - 1);
            let jobs = std::iter::once(first).chain(queued);
            let wanted = jobs.filter(|job| job.answer.begin());
            let (batch, answers): (Vec<_>, Vec<_>) =
                wanted.map(|job| (job.task, job.answer)).unzip();
            if batch.is_empty() {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| T::run(store.as_mut(), batch))) {
                Ok(Ok(done)) => {
                    for (answer, done) in answers.iter().zip(done) {
                        answer.answer(Ok(done));
                    }
                }
                Ok(Err(failure)) => self.failed(&failure, &answers),
                // A bug, and none that ends the service.
                Err(_) => {
                    self.store = None;
                    tracing::error!("a database connection panicked; opening it again");
                }
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
                // Nothing tells when a database comes back.
                thread::sleep(self.retry.next_wait());
            }
        }
    }
}
