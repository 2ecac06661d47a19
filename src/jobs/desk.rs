//! Where tasks are handed in and results are looked up: for the commands, and
//! for a page. May be shared between threads.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::job::{Filter, Job, State};
use super::queue::{self, Dead, Depth, Outgoing, Queue, Which, new_id};
use super::results as store;
use super::results::JobStore;
use super::task;
use super::workers::StartError;
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::sync::lock;

/// A queue and a store.
pub struct Desk {
    queue: Queue,
    store: Mutex<Box<dyn JobStore>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
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

    /// Sends the tasks in these texts; when this returns, the queue has all of
    /// them. Returns their ids, in the same order.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a text without a task, and for more than
    /// [`task::MAX_TASKS`] in all. UNAVAILABLE when `within` is over: then some
    /// may have been sent or not.
    pub fn send(&self, texts: &[String], within: Duration) -> Result<Vec<String>, Error> {
        let tasks = texts.iter().map(|text| messages(text.as_bytes()));
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?.concat();
        if tasks.len() > task::MAX_TASKS {
            let (count, most) = (tasks.len(), task::MAX_TASKS);
            let message = format!("tasks: {count} are too many; at most {most} are sent at a time");
            return Err(Error::invalid(message));
        }
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
            waiting.extend(tasks.iter().rev().flat_map(queued));
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
        let mut dead = self.queue.list_dead(limit, within)?;
        for dead in &mut dead {
            // As jobs show it. What others have put there may be several tasks.
            if let [part] = &mut *task::parts("", &dead.body) {
                dead.body = std::mem::take(&mut part.text);
            }
        }
        Ok(dead)
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
        lock(&self.store)
    }
}

/// For the embedded queue's own answers.
const WITHIN: Duration = Duration::from_secs(5);

/// Dead tasks that are requeued by one command.
const REQUEUED: usize = 100_000;

/// A message for each task in a text, as people write it. What is not UTF-8 is
/// not split: its worker says what is wrong with it.
///
/// # Errors
/// INVALID_ARGUMENT if there is no task in it, or more than [`task::MAX_TASKS`].
pub fn messages(text: &[u8]) -> Result<Vec<Outgoing>, Error> {
    let Ok(line) = std::str::from_utf8(text) else {
        return Ok(vec![Outgoing::new(text.to_vec())]);
    };
    let tasks = task::split(line)?;
    if tasks.is_empty() {
        return Err(Error::invalid(format!("tasks: there is none in {line:?}")));
    }
    let id = new_id();
    let ids = task::part_ids(&id, tasks.len()).zip(&tasks);
    let message = |(id, text): (String, &String)| Outgoing {
        id,
        body: task::escape(text.as_bytes()),
        queued_at: Timestamp::now(),
    };
    Ok(ids.map(message).collect())
}

/// The jobs of which only the queue knows.
fn queued(message: &Outgoing) -> impl Iterator<Item = Job> {
    let parts = task::parts(&message.id, &message.body).into_iter();
    let queued_at = Some(message.queued_at);
    parts.map(move |part| Job {
        id: part.id,
        task: part.text,
        state: State::Queued,
        result: None,
        error: None,
        attempts: 0,
        worker: None,
        queued_at,
        started_at: None,
        finished_at: None,
    })
}
