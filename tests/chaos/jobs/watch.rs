//! A client that lists the jobs again and again, and notes what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use messenger::jobs::job::{Filter, Job};
use messenger::jobs::workers::Desk;
use serde_json::Value;

use super::event::{JobsEvent, Listed};
use super::site::Site;
use super::tasks::{number, short};
use crate::chaos::record::Pen;
use crate::support::jobs::{A_WHILE, everything};

/// For an answer of the broker.
const WITHIN: Duration = Duration::from_secs(2);

pub struct Watch {
    site: Site,
    desk: Desk,
    jobs: BTreeMap<String, Listed>,
    pen: Pen<JobsEvent>,
}

impl Watch {
    pub fn new(site: Site, pen: Pen<JobsEvent>) -> Self {
        let (desk, jobs) = (site.desk(), BTreeMap::new());
        Self {
            site,
            desk,
            jobs,
            pen,
        }
    }

    /// Lists; a store that does not answer is asked again later.
    pub fn look(&mut self) {
        let mut jobs = Vec::new();
        let filter = Filter {
            state: None,
            limit: 1_000_000,
        };
        if self
            .desk
            .each(filter, |job| {
                jobs.push(listed(&job));
                true
            })
            .is_ok()
        {
            self.compare(jobs);
        }
    }

    /// The same with `messenger jobs list`.
    pub fn list(&mut self) {
        let mut lister = self.site.jobs(&["list", "--json", "--limit", "1000000"]);
        let text = everything(&lister);
        assert_eq!(lister.wait_exit(A_WHILE), 0, "{}", lister.log());
        let jobs: Vec<Value> = serde_json::from_str(&text).expect("an array");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let jobs = jobs.iter().map(|job| {
            let (result, error) = (text(&job["result"]), text(&job["error"]));
            let state = text(&job["state"]);
            of(
                text(&job["id"]),
                &text(&job["task"]),
                state,
                &(result + &error),
            )
        });
        self.compare(jobs.collect());
    }

    fn compare(&mut self, jobs: Vec<Listed>) {
        let ids: BTreeSet<_> = jobs.iter().map(|job| job.id.clone()).collect();
        self.jobs.retain(|id, Listed { task, .. }| {
            let (id, task, stays) = (id.clone(), *task, ids.contains(id));
            if !stays {
                self.pen.note(JobsEvent::Gone { id, task });
            }
            stays
        });
        for job in jobs {
            if self.jobs.get(&job.id) != Some(&job) {
                self.pen.note(JobsEvent::Listed(job.clone()));
                self.jobs.insert(job.id.clone(), job);
            }
        }
    }

    /// The tasks that are over.
    pub fn over(&self) -> BTreeSet<u64> {
        let over = self.jobs.values().filter(|job| job.is_over());
        over.map(|job| job.task).collect()
    }

    /// Whether no task waits in the queue, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.desk
            .depth(WITHIN)
            .is_ok_and(|depth| depth.waiting == 0)
    }

    /// The tasks in the dead-letter queue, with the reasons.
    pub fn dead(&self) -> Vec<(u64, String)> {
        let mut dead = Vec::new();
        let listed = self.desk.each_dead(10_000, WITHIN, |letter| {
            dead.push(letter);
            true
        });
        if listed.is_err() {
            dead.clear();
        }
        let task = |body: &[u8]| number(&String::from_utf8_lossy(body));
        dead.into_iter()
            .map(|it| (task(&it.body), it.reason))
            .collect()
    }

    pub fn note_dead(&mut self) {
        for (task, reason) in self.dead() {
            self.pen.note(JobsEvent::Buried { task, reason });
        }
    }
}

fn listed(job: &Job) -> Listed {
    let outcome = job.result.as_ref().or(job.error.as_ref());
    let outcome = outcome.map_or("", |text| text);
    of(
        job.id.clone(),
        &job.text(),
        job.state.name().into(),
        outcome,
    )
}

fn of(id: String, text: &str, state: String, outcome: &str) -> Listed {
    // Why a job waits may change.
    let outcome = if state == "queued" {
        String::new()
    } else {
        short(outcome)
    };
    Listed {
        id,
        task: number(text),
        state,
        outcome,
    }
}
