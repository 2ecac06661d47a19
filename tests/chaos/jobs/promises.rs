//! What the jobs promise, held against a history.

use std::collections::{HashMap, HashSet};

use super::SETTLED;
use super::event::{JobsEvent, Listed};
use super::tasks::{Kind, is_reason, is_right};
use crate::chaos::record::History;
use crate::chaos::verdict::{Promise, Violation};

type Jobs = History<JobsEvent>;
type Verdict = Result<(), Violation>;

/// What a worker may take after SIGTERM: it waits three seconds for calls, and for the
/// queue's owner; the machine is busy.
const END_MS: u64 = 10_000;

pub fn all() -> Vec<Promise<JobsEvent>> {
    let promise = |name, check| Promise { name, check };
    vec![
        promise("a confirmed task is over in the end", confirmed_is_over),
        promise("a task has at most one result", at_most_one),
        promise("a result is the right one", right),
        promise(
            "only what was sent is listed, and after that",
            only_what_was_sent,
        ),
        promise("a refused task is listed never", refused_never),
        promise("a job that is over stays as it is", over_stays),
        promise("a job that was listed stays in the list", stays_listed),
        promise("what is dead is in the dead-letter queue", buried),
        promise("what is in the dead-letter queue is dead", only_the_dead),
        promise("programs end in order", ends),
        promise("all is settled soon after the faults", settles),
    ]
}

/// In one transaction with the acknowledgement, which no broker has.
pub fn buried_once() -> Promise<JobsEvent> {
    Promise {
        name: "what is dead is in the dead-letter queue once",
        check: not_buried_twice,
    }
}

/// The jobs as they are listed, with the index of each record.
fn listed(history: &Jobs) -> impl Iterator<Item = (usize, &Listed)> {
    history
        .events()
        .filter_map(|(index, _, event)| match event {
            JobsEvent::Listed(job) => Some((index, job)),
            _ => None,
        })
}

/// The first record of each task that this event notes.
fn first(history: &Jobs, task: fn(&JobsEvent) -> Option<u64>) -> HashMap<u64, usize> {
    let mut first = HashMap::new();
    for (index, _, event) in history.events() {
        if let Some(task) = task(event) {
            first.entry(task).or_insert(index);
        }
    }
    first
}

fn asked(event: &JobsEvent) -> Option<u64> {
    match event {
        JobsEvent::Asked { task } => Some(*task),
        _ => None,
    }
}

fn confirmed(event: &JobsEvent) -> Option<u64> {
    match event {
        JobsEvent::Confirmed { task } => Some(*task),
        _ => None,
    }
}

/// A task that is over, and how.
fn over(event: &JobsEvent) -> Option<(u64, &str, &str)> {
    match event {
        JobsEvent::Listed(job) if job.is_over() => Some((job.task, &job.state, &job.outcome)),
        JobsEvent::Printed { task, result } => Some((*task, "done", result)),
        _ => None,
    }
}

fn confirmed_is_over(history: &Jobs) -> Verdict {
    let over: HashSet<u64> = history
        .events()
        .filter_map(|it| Some(over(it.2)?.0))
        .collect();
    let confirmed = first(history, confirmed).into_iter();
    let lost = confirmed
        .filter(|(task, _)| !over.contains(task))
        .min_by_key(|it| it.1);
    let Some((task, index)) = lost else {
        return Ok(());
    };
    let asked = first(history, asked).get(&task).copied();
    // Among what there is, it may wait.
    let waits = listed(history)
        .find(|(_, job)| job.task == task)
        .map(|it| it.0);
    let records = asked.into_iter().chain([index]).chain(waits);
    Err(Violation::new(
        format!("{task} was confirmed, and is not over"),
        records,
    ))
}

/// Of a message without an id, delivery is at least once.
fn at_most_one(history: &Jobs) -> Verdict {
    let mut ids: HashMap<u64, (&str, usize)> = HashMap::new();
    for (index, job) in listed(history) {
        if Kind::of(job.task) == Some(Kind::Plain) {
            continue;
        }
        let (id, other) = *ids.entry(job.task).or_insert((&job.id, index));
        if id != job.id {
            let says = format!("{} is two jobs", job.task);
            return Err(Violation::new(says, [other, index]));
        }
    }
    Ok(())
}

fn right(history: &Jobs) -> Verdict {
    for (index, _, event) in history.events() {
        if let Some((task, state, outcome)) = over(event)
            // Of others it is not known.
            && Kind::of(task).is_some()
            && !is_right(task, state, outcome)
        {
            return Err(Violation::new(format!("{task} is not so"), [index]));
        }
    }
    Ok(())
}

fn only_what_was_sent(history: &Jobs) -> Verdict {
    let asked = first(history, asked);
    for (index, _, event) in history.events() {
        let (JobsEvent::Listed(Listed { task, .. })
        | JobsEvent::Printed { task, .. }
        | JobsEvent::Buried { task, .. }) = event
        else {
            continue;
        };
        let asked = asked.get(task);
        if asked.is_none_or(|asked| *asked > index) {
            let records = asked.copied().into_iter().chain([index]);
            return Err(Violation::new(
                format!("{task} comes before it was sent"),
                records,
            ));
        }
    }
    Ok(())
}

fn refused_never(history: &Jobs) -> Verdict {
    let refused = first(history, |event| match event {
        JobsEvent::Refused { task } => Some(*task),
        _ => None,
    });
    for (index, job) in listed(history) {
        if let Some(refused) = refused.get(&job.task) {
            let says = format!("{} was refused", job.task);
            return Err(Violation::new(says, [*refused, index]));
        }
    }
    Ok(())
}

fn over_stays(history: &Jobs) -> Verdict {
    let mut over: HashMap<&str, (&Listed, usize)> = HashMap::new();
    for (index, job) in listed(history) {
        if let Some((before, shown)) = over.get(&*job.id)
            && *before != job
        {
            let says = format!("{} was over already", job.id);
            return Err(Violation::new(says, [*shown, index]));
        }
        if job.is_over() {
            over.insert(&job.id, (job, index));
        }
    }
    Ok(())
}

fn stays_listed(history: &Jobs) -> Verdict {
    for (index, _, event) in history.events() {
        if let JobsEvent::Gone { id, .. } = event {
            let before = listed(history).filter(|(at, job)| job.id == *id && *at < index);
            let records = before.last().map(|it| it.0).into_iter().chain([index]);
            return Err(Violation::new(format!("{id} has vanished"), records));
        }
    }
    Ok(())
}

/// The dead letters, with the index of each record.
fn dead(history: &Jobs) -> impl Iterator<Item = (usize, u64, &str)> {
    history
        .events()
        .filter_map(|(index, _, event)| match event {
            JobsEvent::Buried { task, reason } => Some((index, *task, &**reason)),
            _ => None,
        })
}

fn buried(history: &Jobs) -> Verdict {
    let buried: HashSet<u64> = dead(history).map(|(_, task, _)| task).collect();
    for (index, job) in listed(history) {
        if job.state == "dead" && !buried.contains(&job.task) {
            let says = format!("{} is dead, and no dead letter", job.task);
            return Err(Violation::new(says, [index]));
        }
    }
    Ok(())
}

fn only_the_dead(history: &Jobs) -> Verdict {
    let died: HashMap<u64, usize> = listed(history)
        .filter(|(_, job)| job.state == "dead")
        .map(|(index, job)| (job.task, index))
        .collect();
    for (index, task, reason) in dead(history) {
        let shown = died.get(&task).copied();
        if shown.is_none() || !is_reason(reason) {
            let says = format!("{task} should not be there, or has another reason");
            return Err(Violation::new(says, shown.into_iter().chain([index])));
        }
    }
    Ok(())
}

fn not_buried_twice(history: &Jobs) -> Verdict {
    let mut buried = HashMap::new();
    for (index, task, _) in dead(history) {
        if let Some(other) = buried.insert(task, index) {
            return Err(Violation::new(
                format!("{task} is there twice"),
                [other, index],
            ));
        }
    }
    Ok(())
}

fn ends(history: &Jobs) -> Verdict {
    for (index, _, event) in history.events() {
        let JobsEvent::Ended { code, asked, .. } = event else {
            continue;
        };
        let in_order = match asked {
            Some(ms) => *code == 0 && *ms <= END_MS,
            // It could not open its store or its queue, and said so.
            None => *code == 1,
        };
        if !in_order {
            return Err(Violation::new("it ends in another way", [index]));
        }
    }
    Ok(())
}

fn settles(history: &Jobs) -> Verdict {
    let at = |wanted: JobsEvent| {
        let mut events = history.events();
        events.find_map(|(index, record, event)| (*event == wanted).then_some((index, record.at)))
    };
    let Some((over, began)) = at(JobsEvent::FaultsOver) else {
        return Ok(());
    };
    match at(JobsEvent::Settled) {
        Some((_, settled)) if u128::from(settled - began) <= SETTLED.as_nanos() => Ok(()),
        settled => {
            let records = [over].into_iter().chain(settled.map(|it| it.0));
            Err(Violation::new(format!("not within {SETTLED:?}"), records))
        }
    }
}
