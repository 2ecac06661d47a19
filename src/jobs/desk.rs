//! Sends tasks to the queue and looks up jobs and results, for the command line and
//! the console.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use super::job::{Filter, Job, State};
use super::queue::{self, DeadLetter, Depth, Look, Looked, Outgoing, Queue, Which};
use super::results as store;
use super::results::JobStore;
use super::task;
use crate::db::StartError;
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::key;
use crate::sync::lock;

/// A queue and a store of results. May be shared between threads.
pub struct Desk {
    queue: Queue,
    store: Mutex<Box<dyn JobStore>>,
}

impl Desk {
    /// # Errors
    /// A store that cannot be opened, or a thread that cannot be started. A broker
    /// that cannot be reached is an error of each request.
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
    /// [`task::MAX_TASKS`] in all. UNAVAILABLE when `within` is over, when
    /// some may have been sent or not.
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

    /// How many tasks wait, how many are dead, and how many consumers there are.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker.
    pub fn depth(&self, within: Duration) -> Result<Depth, Error> {
        self.queue.depth(within)
    }

    /// Visits jobs, newest first, until `visit` returns false, which may take its time:
    /// those of the store, which is asked for a page at a time and holds nothing meanwhile,
    /// and those that wait in the queue, if it can list them (RabbitMQ cannot).
    ///
    /// # Errors
    /// What the databases say.
    pub fn each(&self, filter: Filter, mut visit: impl FnMut(Job) -> bool) -> Result<(), Error> {
        // First the queue: what a worker finishes meanwhile is then in both, and
        // not in none.
        let mut waiting = Vec::new();
        if filter.state.is_none_or(|state| state == State::Queued) {
            let tasks = self.queue.waiting(filter.limit, WITHIN)?;
            // The oldest last in the list is the first to be taken from its end.
            waiting.extend(tasks.iter().rev().flat_map(queued));
            waiting.sort_by_key(Job::sent_at);
        }
        let (mut left, mut seen, mut behind) = (filter.limit, HashSet::new(), store::FIRST);
        // Whether to go on.
        let mut show = |job: Job| {
            if left > 0 && seen.insert(job.id.clone()) {
                left -= 1;
                return visit(job);
            }
            left > 0
        };
        loop {
            let limit = filter.limit.min(PAGE);
            let page = lock(&self.store).page(Filter { limit, ..filter }, behind);
            let page = page.map_err(unavailable)?;
            let more = page.len() == limit && limit > 0;
            for (seat, job) in page {
                behind = seat;
                while let Some(newer) = waiting.pop_if(|other| other.sent_at() > job.sent_at()) {
                    if !show(newer) {
                        return Ok(());
                    }
                }
                if !show(job) {
                    return Ok(());
                }
            }
            if !more {
                break;
            }
        }
        while let Some(job) = waiting.pop() {
            if !show(job) {
                break;
            }
        }
        Ok(())
    }

    /// The job with this id, if it is known: RabbitMQ does not tell what waits in it.
    ///
    /// # Errors
    /// What the databases say.
    pub fn find(&self, id: &str) -> Result<Option<Job>, Error> {
        let stored = || lock(&self.store).find(id).map_err(unavailable);
        if let Some(job) = stored()? {
            return Ok(Some(job));
        }
        let tasks = self.queue.waiting(SEARCHED, WITHIN)?;
        // A worker may have finished it in between.
        let job = tasks.iter().flat_map(queued).find(|job| job.id == id);
        job.map_or_else(stored, |job| Ok(Some(job)))
    }

    /// How many tasks were tried and are tried again, of the oldest 1,000 that wait.
    ///
    /// # Errors
    /// What the database says.
    pub fn retried(&self) -> Result<u64, Error> {
        lock(&self.store).retried().map_err(unavailable)
    }

    /// Deletes what is done or failed and was sent before this time, in small steps;
    /// returns how much.
    ///
    /// # Errors
    /// What the database says, when some may be deleted.
    pub fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        let mut count = 0;
        loop {
            match lock(&self.store).prune(before, PAGE).map_err(unavailable)? {
                0 => return Ok(count),
                some => count += some,
            }
        }
    }

    /// Visits the oldest dead letters until `visit` returns false, a page in memory at a
    /// time. `within` is for each page.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker.
    pub fn each_dead(
        &self,
        limit: usize,
        within: Duration,
        mut visit: impl FnMut(DeadLetter) -> bool,
    ) -> Result<(), Error> {
        let (mut left, mut oldest, mut go_on) = (limit, true, true);
        while left > 0 && go_on {
            let look = Look {
                oldest,
                limit: left.min(PAGE),
                take: None,
            };
            let page = self.queue.look_at_dead(look, within)?.dead;
            (left, oldest, go_on) = (left - page.len().min(left), false, !page.is_empty());
            for mut dead in page {
                // As jobs show it. What others have put there may be several tasks.
                if let [part] = &mut *task::parts("", &dead.body) {
                    dead.body = std::mem::take(&mut part.text);
                }
                go_on = go_on && visit(dead);
            }
        }
        self.queue.put_back(within).map(drop)
    }

    /// Requeues dead letters, as if they had never been tried, some hundreds at a time.
    /// `within` is for each step, and `progress` hears how many were moved so far. Returns
    /// how many in all.
    ///
    /// # Errors
    /// UNAVAILABLE without a broker, or what the database says; with the number of those
    /// that were moved.
    pub fn requeue(
        &self,
        which: &Which,
        within: Duration,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, Error> {
        let (mut moved, mut oldest) = (0, true);
        let mut step = |left: &mut u64| {
            let limit = usize::try_from(*left).unwrap_or(PAGE).min(PAGE);
            let look = Look {
                oldest: std::mem::take(&mut oldest),
                limit,
                take: Some(which.clone()),
            };
            let Looked { count, dead } = self.queue.look_at_dead(look, within)?;
            *left = left.saturating_sub(count as u64);
            if !dead.is_empty() {
                let ids: Vec<_> = dead.into_iter().filter_map(|dead| dead.id).collect();
                // First the store: a worker that gets a dead job dead-letters it again.
                lock(&self.store).revive(&ids).map_err(unavailable)?;
                moved += self.queue.put_back(within)?;
                progress(moved);
            }
            Ok::<_, Error>(count > 0)
        };
        // Not more than there are now, or those that die again would come twice.
        let all = self.queue.depth(within).and_then(|depth| {
            let mut left = depth.dead;
            while left > 0 && step(&mut left)? {}
            self.queue.put_back(within)
        });
        all.map_err(|error| Error {
            message: format!("after {moved} were requeued: {}", error.message),
            ..error
        })?;
        Ok(moved)
    }
}

/// For the embedded queue's own answers.
const WITHIN: Duration = Duration::from_secs(5);

/// How many of the newest tasks that wait are searched for one.
const SEARCHED: usize = 100_000;

/// Jobs or dead letters that are read, moved or deleted at a time.
const PAGE: usize = 256;

fn unavailable(error: crate::db::Error) -> Error {
    Error::unavailable(error.to_string())
}

/// The id that a producer gives a message itself.
///
/// # Errors
/// What an id has to be.
pub fn id(written: &str) -> Result<String, &'static str> {
    let sound = key::is_visible(written, key::LONGEST).then(|| written.to_owned());
    sound.ok_or("an id has to be 1 to 128 visible ASCII characters")
}

/// A message for each task in a text, as people write it. What is not UTF-8 is
/// not split: the worker reports the error.
///
/// # Errors
/// INVALID_ARGUMENT if there is no task in it, or more than [`task::MAX_TASKS`].
pub fn messages(text: &[u8]) -> Result<Vec<Outgoing>, Error> {
    messages_as(&key::random(), text)
}

/// As [`messages`], with this id.
///
/// # Errors
/// The same.
pub fn messages_as(id: &str, text: &[u8]) -> Result<Vec<Outgoing>, Error> {
    let Ok(line) = std::str::from_utf8(text) else {
        return Ok(vec![Outgoing {
            id: id.to_owned(),
            ..Outgoing::new(text.to_vec())
        }]);
    };
    let tasks = task::split(line)?;
    if tasks.is_empty() {
        return Err(Error::invalid(format!("tasks: there is none in {line:?}")));
    }
    let ids = task::part_ids(id, tasks.len()).zip(&tasks);
    let message = |(id, text): (String, &String)| Outgoing {
        id,
        body: task::escape(text.as_bytes()),
        queued_at: Timestamp::now(),
    };
    Ok(ids.map(message).collect())
}

/// The jobs that only the queue knows.
fn queued(message: &Outgoing) -> impl Iterator<Item = Job> {
    let parts = task::parts(&message.id, &message.body).into_iter();
    let queued_at = Some(message.queued_at);
    parts.map(move |part| Job::queued(part.id, part.text, queued_at))
}
