//! The thread "jobs-ledger": takes all queued reports, stores them as one
//! transaction, and only then acknowledges or dead-letters their tasks.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::job::{Job, State};
use super::queue::failpoint::{self, Point};
use super::queue::{DeadLetter, Queue, Token};
use super::results::{JobStore, Known};
use crate::db::Error;
use crate::metrics;
use crate::readiness::Readiness;
use crate::retry::Retry;

/// Reports that may wait; over it workers block (backpressure).
pub const QUEUE: usize = 1024;

/// Waits after a failure of the store.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What workers report.
pub enum Report {
    /// A job as it is now; its delivery is still worked on.
    Progress(Job),
    /// All tasks of a delivery are over.
    Settled {
        token: Token,
        /// Those that were not reported yet.
        jobs: Vec<Job>,
        /// Its tasks for the dead-letter queue.
        dead: Vec<DeadLetter>,
    },
    /// What is known of this job?
    Find(String, Sender<Option<Known>>),
}

pub struct Ledger {
    store: Box<dyn JobStore>,
    queue: Arc<Queue>,
    reports: Receiver<Report>,
    /// Disconnected when it is time to end.
    stopped: Receiver<()>,
    ready: Readiness,
}

/// Nothing can be stored any more.
struct Ended;

impl Ledger {
    pub fn new(
        store: Box<dyn JobStore>,
        queue: Arc<Queue>,
        reports: Receiver<Report>,
        stopped: Receiver<()>,
        ready: Readiness,
    ) -> Self {
        Self {
            store,
            queue,
            reports,
            stopped,
            ready,
        }
    }

    /// Ends when all workers have.
    pub fn run(mut self, mut finished: impl FnMut(&[&Job])) {
        while let Ok(first) = self.reports.recv() {
            let reports = self.reports.clone();
            let batch = std::iter::once(first).chain(reports.try_iter());
            if self.book(batch.take(QUEUE), &mut finished).is_err() {
                return;
            }
        }
    }

    fn book(
        &mut self,
        reports: impl Iterator<Item = Report>,
        finished: &mut impl FnMut(&[&Job]),
    ) -> Result<(), Ended> {
        let (mut jobs, mut acks, mut dead_letters, mut questions) =
            (vec![], vec![], vec![], vec![]);
        for report in reports {
            match report {
                Report::Progress(job) => jobs.push(job),
                Report::Settled {
                    token,
                    jobs: last,
                    dead,
                } => {
                    jobs.extend(last);
                    if dead.is_empty() {
                        acks.push(token);
                    } else {
                        dead_letters.push((token, dead));
                    }
                }
                Report::Find(id, reply) => questions.push((id, reply)),
            }
        }
        if !jobs.is_empty() {
            self.persist(|store| metrics::committing("jobs", || store.commit(&jobs)))?;
            failpoint::reach(Point::AfterStore);
        }
        for (id, reply) in questions {
            // A worker that has ended asks no more.
            let _ = reply.send(self.persist(|store| store.find(&id))?);
        }
        let over = jobs.iter().filter(|job| job.state != State::Queued);
        let over: Vec<_> = over.collect();
        for job in &over {
            metrics::add(&metrics::JOBS, &[job.state.name()], 1);
        }
        finished(&over);
        if !acks.is_empty() {
            self.queue.ack(acks);
        }
        for (token, dead) in dead_letters {
            self.queue.dead_letter(token, dead);
        }
        Ok(())
    }

    /// Tries again until it works or the program ends: a task whose job is not
    /// stored is not acknowledged either.
    fn persist<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn JobStore) -> Result<T, Error>,
    ) -> Result<T, Ended> {
        let mut retry = Retry::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let error = match work(&mut *self.store) {
                Ok(done) => {
                    self.ready.wrote(Ok(()));
                    return Ok(done);
                }
                Err(error) => error,
            };
            self.ready.wrote(Err("results cannot be stored".into()));
            if retry.is_news(&error) {
                tracing::warn!("cannot store results, trying again: {error}");
            }
            retry.wait(&self.stopped).map_err(|_| Ended)?;
        }
    }
}
