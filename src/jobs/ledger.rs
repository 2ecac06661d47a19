//! The thread "jobs-ledger": takes all queued reports, stores them as one
//! transaction, and only then acknowledges or dead-letters their tasks. A job that the
//! database refuses goes to the dead-letter queue, and holds up no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::job::{Job, State};
use super::queue::failpoint::{self, Point};
use super::queue::{DeadLetter, Queue, Token};
use super::results::JobStore;
use super::task;
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
    Progress(Token, Job),
    /// All tasks of a delivery are over.
    Settled {
        token: Token,
        /// Those that were not reported yet.
        jobs: Vec<Job>,
        /// Its tasks for the dead-letter queue.
        dead: Vec<DeadLetter>,
    },
    /// What is known of this job?
    Find(String, Sender<Option<Job>>),
}

pub struct Ledger {
    pub store: Box<dyn JobStore>,
    pub queue: Arc<Queue>,
    pub reports: Receiver<Report>,
    /// Disconnected when it is time to end.
    pub stopped: Receiver<()>,
    pub ready: Readiness,
    /// Jobs of deliveries in work that the database has refused.
    pub refused: HashMap<Token, Vec<DeadLetter>>,
}

/// A dead job's task.
pub fn dead_letter(job: &Job) -> DeadLetter {
    DeadLetter {
        id: Some(job.id.clone()),
        body: task::escape(&job.task),
        reason: job.error.clone().unwrap_or_default(),
        attempts: job.attempts,
    }
}

/// Nothing can be stored any more.
struct Ended;

impl Ledger {
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
        let (mut jobs, mut tokens, mut settled, mut questions) = (vec![], vec![], vec![], vec![]);
        for report in reports {
            match report {
                Report::Progress(token, job) => {
                    jobs.push(job);
                    tokens.push(token);
                }
                Report::Settled {
                    token,
                    jobs: last,
                    dead,
                } => {
                    jobs.extend(last);
                    tokens.resize(jobs.len(), token);
                    settled.push((token, dead));
                }
                Report::Find(id, reply) => questions.push((id, reply)),
            }
        }
        if !jobs.is_empty() {
            self.store(&mut jobs, &tokens)?;
            failpoint::reach(Point::AfterStore);
        }
        for (id, reply) in questions {
            // An id that the database refuses cannot be in it. A worker that has ended
            // asks no more.
            let found = self.persist(|store| store.find(&id))?;
            let _ = reply.send(found.ok().flatten());
        }
        let over = jobs.iter().filter(|job| job.state != State::Queued);
        let over: Vec<_> = over.collect();
        for job in &over {
            metrics::add(&metrics::JOBS, &[job.state.name()], 1);
        }
        finished(&over);
        let mut acks = Vec::new();
        for (token, mut dead) in settled {
            dead.extend(self.refused.remove(&token).into_iter().flatten());
            if dead.is_empty() {
                acks.push(token);
            } else {
                self.queue.dead_letter(token, dead);
            }
        }
        if !acks.is_empty() {
            self.queue.ack(acks);
        }
        Ok(())
    }

    /// Stores the jobs as one transaction. If one is refused, its half of them is tried
    /// alone, until it is found.
    fn store(&mut self, jobs: &mut [Job], tokens: &[Token]) -> Result<(), Ended> {
        let commit = |store: &mut dyn JobStore| metrics::committing("jobs", || store.commit(jobs));
        let Err(error) = self.persist(commit)? else {
            return Ok(());
        };
        if let ([job], [token]) = (&mut *jobs, tokens) {
            self.refuse(job, *token, &error);
            return Ok(());
        }
        let half = jobs.len() / 2;
        let (first, second) = jobs.split_at_mut(half);
        self.store(first, &tokens[..half])?;
        self.store(second, &tokens[half..])
    }

    /// The job will be a dead letter when its delivery is settled.
    fn refuse(&mut self, job: &mut Job, token: Token, error: &Error) {
        tracing::warn!(id = job.id, "cannot be stored: {error}");
        if matches!(job.state, State::Done | State::Failed) {
            job.state = State::Dead;
            job.result = None;
            job.error = Some(format!("the result cannot be stored: {error}"));
            let queue = &self.queue;
            self.refused.retain(|token, _| queue.is_current(*token));
            self.refused
                .entry(token)
                .or_default()
                .push(dead_letter(job));
        }
    }

    /// Tries again until it works or the program ends: a task whose job is not
    /// stored is not acknowledged either. The inner error is a refusal.
    fn persist<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn JobStore) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, Ended> {
        let mut retry = Retry::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let error = match work(&mut *self.store) {
                Ok(done) => {
                    self.ready.wrote(Ok(()));
                    return Ok(Ok(done));
                }
                Err(error) if error.is_of_the_data() => return Ok(Err(error)),
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
