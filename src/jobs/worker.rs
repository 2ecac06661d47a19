//! One worker, on a thread of its own, "jobs-worker-N": takes a message, asks the
//! message server about each task in it, one after the other, and reports. It
//! blocks in the call, and retries with backoff.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

use super::client::{MessageClient, is_cut, is_overload};
use super::job::{Job, State};
use super::ledger::{Report, dead_letter};
use super::queue::failpoint::{self, Point};
use super::queue::{Delivery, Queue};
use super::task::{self, Part};
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::key;
use crate::metrics;
use crate::retry::Retry;
use crate::status;

/// Waits after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The longest wait of a task that the server was lost over, so that others are done
/// meanwhile, and of one that an overloaded server sends away for so long.
const LONG_WAIT: Duration = Duration::from_secs(30);

pub struct Worker {
    pub name: String,
    pub client: MessageClient,
    pub queue: std::sync::Arc<Queue>,
    pub deliveries: Receiver<Delivery>,
    pub reports: Sender<Report>,
    /// Disconnected when it is time to end.
    pub stopped: Receiver<()>,
    pub attempts: u32,
    /// Lost servers after which a task is dead.
    pub crashes: u32,
}

/// Why to stop: with this task, or altogether.
enum Stop {
    /// The delivery was lost; the task will be redelivered.
    Lost,
    Ended,
}

impl Worker {
    pub fn run(self) {
        loop {
            let delivery = select_biased! {
                recv(self.stopped) -> _ => return,
                recv(self.deliveries) -> delivery => delivery,
            };
            let Ok(delivery) = delivery else { return };
            if let Err(Stop::Ended) = self.work(delivery) {
                return;
            }
        }
    }

    fn work(&self, delivery: Delivery) -> Result<(), Stop> {
        let id = delivery.id.clone().unwrap_or_else(key::random);
        let (mut jobs, mut dead) = (Vec::new(), Vec::new());
        for part in task::parts(&id, &delivery.body) {
            // Not those of a message without an id: if this process died now,
            // nobody could tell that they are the same when it comes again.
            if delivery.id.is_some() {
                for job in jobs.drain(..) {
                    self.report(Report::Progress(delivery.token, job))?;
                }
            }
            if self.is_stopped() {
                return Err(Stop::Ended);
            }
            let Some(job) = self.finish(&delivery, &part)? else {
                continue;
            };
            if job.state == State::Dead {
                dead.push(dead_letter(&job));
            }
            jobs.push(job);
        }
        self.report(Report::Settled {
            token: delivery.token,
            jobs,
            dead,
        })
    }

    /// Works on a task until it is over. `None` if it was already.
    fn finish(&self, delivery: &Delivery, part: &Part) -> Result<Option<Job>, Stop> {
        self.check(delivery)?;
        let mut job = Job {
            worker: Some(self.name.clone()),
            started_at: Some(Timestamp::now()),
            ..Job::queued(part.id.clone(), part.text.clone(), delivery.queued_at)
        };
        if let Some(known) = self.known(delivery, &part.id)? {
            job.attempts = known.attempts;
            match known.state {
                State::Queued => {}
                // It was stored and not acknowledged. The job that is stored
                // stays as it is, whatever this one says.
                State::Done | State::Failed => return Ok(None),
                State::Dead => {
                    job.state = State::Dead;
                    job.error = known.error;
                    return Ok(Some(job));
                }
            }
        }
        let mut retry = Retry::new(FIRST_WAIT, LONGEST_WAIT);
        let (mut after_crash, mut crashes) = (Retry::new(FIRST_WAIT, LONG_WAIT), 0);
        let mut counted = None;
        loop {
            let mut wait = Duration::ZERO;
            let asked = part.task.clone();
            let answer = asked.and_then(|task| self.client.answer(&task));
            let status = answer
                .as_ref()
                .map_or_else(|e| status::name(e.code), |_| "OK");
            metrics::add(&metrics::ATTEMPTS, &[status], 1);
            match answer {
                Ok(result) => {
                    job.attempts += 1;
                    job.state = State::Done;
                    job.result = Some(result);
                    job.error = None;
                }
                Err(error) => {
                    crashes += u32::from(is_cut(&error));
                    self.fail(&mut job, &error, crashes);
                    wait = error.retry_after.unwrap_or_default().min(LONG_WAIT);
                    let retry = if is_cut(&error) {
                        &mut after_crash
                    } else {
                        &mut retry
                    };
                    wait = wait.max(retry.next_wait());
                }
            }
            failpoint::reach(Point::AfterProcessing);
            if job.state != State::Queued {
                break;
            }
            drop(counted.replace(metrics::hold(&metrics::RETRYING, &[status])));
            // One without an id would stay in the list for ever.
            if delivery.id.is_some() {
                self.report(Report::Progress(delivery.token, job.clone()))?;
            }
            self.pause(wait)?;
            self.check(delivery)?;
        }
        job.finished_at = Some(Timestamp::now());
        Ok(Some(job))
    }

    /// What a failure makes of the job, over which the server was lost so often.
    fn fail(&self, job: &mut Job, error: &Error, crashes: u32) {
        let mut text = format!("{}: {}", status::name(error.code), error.message);
        // One line for a task that waits, however long.
        if error.code != Code::InvalidArgument && job.error.is_none() {
            tracing::warn!(id = job.id, "tried again: {text}");
        }
        if is_cut(error) && crashes >= self.crashes {
            text += &format!(" (the server was lost {crashes} times while it had this task)");
            job.state = State::Dead;
        }
        job.error = Some(text);
        // A server that is not there, has too much to do, or does not let this worker in,
        // says nothing about the task.
        if error.code == Code::Unavailable || is_overload(error) || error.is_refusal() {
            return;
        }
        job.attempts = job.attempts.saturating_add(1);
        if error.code == Code::InvalidArgument {
            job.state = State::Failed;
        } else if job.attempts >= self.attempts {
            job.state = State::Dead;
        }
    }

    /// Looks up the job of a redelivered task; others cannot be known yet.
    fn known(&self, delivery: &Delivery, id: &str) -> Result<Option<Job>, Stop> {
        if delivery.id.is_none() || !delivery.redelivered {
            return Ok(None);
        }
        let (reply, answer) = bounded(1);
        self.report(Report::Find(id.to_owned(), reply))?;
        answer.recv().map_err(|_| Stop::Ended)
    }

    fn report(&self, report: Report) -> Result<(), Stop> {
        self.reports.send(report).map_err(|_| Stop::Ended)
    }

    fn check(&self, delivery: &Delivery) -> Result<(), Stop> {
        if self.queue.is_current(delivery.token) {
            return Ok(());
        }
        Err(Stop::Lost)
    }

    fn pause(&self, wait: Duration) -> Result<(), Stop> {
        match self.stopped.recv_timeout(wait) {
            Err(error) if error.is_timeout() => Ok(()),
            _ => Err(Stop::Ended),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped
            .try_recv()
            .is_err_and(|error| error.is_disconnected())
    }
}
