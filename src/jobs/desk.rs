//! Where tasks are handed in and results are looked up: for the commands, and
//! for a page. May be shared between threads.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::job::{Filter, Job, State};
use super::queue::{self, Dead, Depth, Outgoing, Queue, Which};
use super::results as store;
use super::results::JobStore;
use super::workers::StartError;
use crate::error::Error;

/// A queue and a store.
pub struct Desk {
    queue: Queue,
    store: Mutex<Box<dyn JobStore>>,
}

impl Desk {
    /// # Errors
    /// A store that cannot be opened, or no thread to be had. A broker that is
    /// not there is an error of each request.
    pub fn open(queue: &queue::Place, store: &store::Place) -> Result<Self, StartError> {
        Ok(Self {
            store: Mutex::new(store::open(store)?),
            queue: Queue::open(queue)?,
        })
    }

    /// Sends tasks; when this returns, the queue has all of them. Returns their
    /// ids, in the same order.
    ///
    /// # Errors
    /// UNAVAILABLE when `within` is over: then some may have been sent or not.
    pub fn send(&self, tasks: Vec<Vec<u8>>, within: Duration) -> Result<Vec<String>, Error> {
        let tasks: Vec<_> = tasks.into_iter().map(Outgoing::new).collect();
        let ids = tasks.iter().map(|task| task.id.clone()).collect();
        self.queue.publish(tasks, within)?;
        Ok(ids)
    }

    /// How much there is to do, and who does it.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker.
    pub fn depth(&self, within: Duration) -> Result<Depth, Error> {
        self.queue.depth(within)
    }

    /// Shows jobs, newest first: those of the store, and those that wait in a
    /// queue that can tell.
    ///
    /// # Errors
    /// What the databases say.
    pub fn each(&self, filter: Filter, mut visit: impl FnMut(Job)) -> Result<(), Error> {
        // First the queue: what a worker finishes meanwhile is then in both, and
        // not in none.
        let mut waiting = Vec::new();
        if filter.state.is_none_or(|state| state == State::Queued) {
            let tasks = self.queue.waiting(filter.limit, WITHIN)?;
            // The oldest last in the list is the first to be taken from its end.
            waiting.extend(tasks.into_iter().rev().map(queued));
            waiting.sort_by_key(Job::sent_at);
        }
        let mut left = filter.limit;
        let mut seen = HashSet::new();
        let mut show = |job: Job| {
            if left > 0 && seen.insert(job.id.clone()) {
                left -= 1;
                visit(job);
            }
        };
        let stored = self.store().each(filter, &mut |job| {
            while let Some(newer) = waiting.pop_if(|other| other.sent_at() > job.sent_at()) {
                show(newer);
            }
            show(job);
        });
        stored.map_err(|error| Error::unavailable(error.to_string()))?;
        while let Some(job) = waiting.pop() {
            show(job);
        }
        Ok(())
    }

    /// The oldest dead tasks.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker.
    pub fn dead(&self, limit: usize, within: Duration) -> Result<Vec<Dead>, Error> {
        self.queue.list_dead(limit, within)
    }

    /// Lets dead tasks be tried again, as if they never had been. Returns how many.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker, or what the database says.
    pub fn requeue(&self, which: &Which, within: Duration) -> Result<u64, Error> {
        // First the store: a worker that meets a dead job buries it again.
        let ids = match which {
            Which::Ids(ids) => ids.clone(),
            Which::All => {
                let dead = self.queue.list_dead(REQUEUED, within)?;
                dead.into_iter().filter_map(|dead| dead.id).collect()
            }
        };
        for id in &ids {
            let revived = self.store().revive(id);
            revived.map_err(|error| Error::unavailable(error.to_string()))?;
        }
        self.queue.requeue(which.clone(), within)
    }

    fn store(&self) -> MutexGuard<'_, Box<dyn JobStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the embedded queue's own answers.
const WITHIN: Duration = Duration::from_secs(5);

/// Dead tasks that are requeued by one command.
const REQUEUED: usize = 100_000;

/// A job of which only the queue knows.
fn queued(task: Outgoing) -> Job {
    Job {
        id: task.id,
        task: task.body,
        state: State::Queued,
        result: None,
        error: None,
        attempts: 0,
        worker: None,
        queued_at: Some(task.queued_at),
        started_at: None,
        finished_at: None,
    }
}
