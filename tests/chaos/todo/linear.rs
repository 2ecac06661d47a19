//! Whether calls are linearizable: each takes effect at one moment between its call
//! and its answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use todc_utils::linearizability::history::Action;
use todc_utils::{History as Calls, Specification, WGLChecker};

use super::event::{Answer, Ask, Listed};
use super::promises::{Todo, Verdict, View};
use crate::chaos::verdict::Violation;

/// So many tasks with ids in a row are judged at a time, and then half of them with
/// the next ones: the search may take exponential time. Ids in a row are given at
/// about the same time, so it sees what meets there.
const TASKS: usize = 16;

/// So many lists with them, from when the first of them is added.
const LISTS: usize = 60;

enum What<'a> {
    Add(i32),
    Complete(i32),
    NotFound(i32),
    List(&'a Listed),
}

impl What<'_> {
    fn task(&self) -> Option<i32> {
        match self {
            Self::Add(id) | Self::Complete(id) | Self::NotFound(id) => Some(*id),
            Self::List(_) => None,
        }
    }
}

/// What a client did, the record of its call, and the record by which it was done:
/// the answer, or the first one that shows it when the call failed.
struct Deed<'a> {
    from: usize,
    to: usize,
    what: What<'a>,
    records: Vec<usize>,
}

/// A list cut down to a few tasks, each of which is a bit.
struct Cut;

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Complete(u32),
    NotFound(u32),
    List(u32, u32),
}

impl Specification for Cut {
    /// The tasks that are there, and those that are completed.
    type State = (u32, u32);
    type Operation = Step;

    fn init() -> Self::State {
        (0, 0)
    }

    fn apply(step: &Step, &(there, done): &Self::State) -> (bool, Self::State) {
        match *step {
            // Ids rise.
            Step::Add(bit) => (there == bit - 1, (there | bit, done)),
            Step::Complete(bit) => (there & bit != 0, (there, done | bit)),
            Step::NotFound(bit) => (there & bit == 0, (there, done)),
            Step::List(all, completed) => ((all, completed) == (there, done), (there, done)),
        }
    }
}

pub fn linearizable(history: &Todo) -> Verdict {
    let view = View::new(history);
    let deeds = deeds(&view);
    let added = deeds.iter().filter(|it| matches!(it.what, What::Add(_)));
    let added: BTreeSet<i32> = added.filter_map(|it| it.what.task()).collect();
    let added: Vec<i32> = added.into_iter().collect();
    let mut by_task: BTreeMap<i32, Vec<&Deed>> = BTreeMap::new();
    for deed in &deeds {
        if let Some(id) = deed.what.task() {
            by_task.entry(id).or_default().push(deed);
        }
    }
    for first in (0..added.len()).step_by(TASKS / 2) {
        let mut tasks: Vec<i32> = added[first..].iter().copied().take(TASKS).collect();
        let of_tasks = tasks.iter().flat_map(|id| &by_task[id]).copied();
        let mut calls: Vec<&Deed> = of_tasks.collect();
        let begins = calls.iter().map(|it| it.from).min().unwrap_or(0);
        let lists = deeds.iter().filter(|it| it.what.task().is_none());
        calls.extend(lists.filter(|it| it.to > begins).take(LISTS));
        if holds(&calls, &tasks) {
            continue;
        }
        // The fewest tasks and lists that show it.
        for task in tasks.clone() {
            let fewer: Vec<i32> = tasks.iter().copied().filter(|it| *it != task).collect();
            let rest = calls.iter().copied();
            let rest = rest
                .filter(|it| it.what.task() != Some(task))
                .collect::<Vec<_>>();
            if !holds(&rest, &fewer) {
                (tasks, calls) = (fewer, rest);
            }
        }
        let mut at = 0;
        while at < calls.len() {
            let mut rest = calls.clone();
            let removed = rest.remove(at);
            let is_read = matches!(removed.what, What::List(_) | What::NotFound(_));
            if is_read && !holds(&rest, &tasks) {
                calls = rest;
            } else {
                at += 1;
            }
        }
        let says = format!("no order of these calls explains them (tasks {tasks:?})");
        let records = calls.iter().flat_map(|it| it.records.clone());
        return Err(Violation::new(says, records));
    }
    Ok(())
}

/// Lists come in the order of their answers.
fn deeds<'a>(view: &View<'a>) -> Vec<Deed<'a>> {
    let mut deeds = Vec::new();
    // An add that failed is done by when its title is seen first.
    let mut seen: HashMap<i32, usize> = HashMap::new();
    for (id, _, index) in &view.titles {
        seen.entry(*id).or_insert(*index);
    }
    for ((id, completed), made) in &view.made {
        let to = made.done.or_else(|| seen.get(id).copied());
        if let (false, Some(to)) = (completed, to) {
            deeds.push(deed(view, made.asked, to, What::Add(*id)));
        }
    }
    // Completions that failed are one: some of them is done when that is seen, if no
    // other one is.
    let mut failed: BTreeMap<i32, usize> = BTreeMap::new();
    for call in view.calls.values() {
        match (call.ask, call.done) {
            (Ask::Complete(id), Some((to, Answer::Completed))) => {
                deeds.push(deed(view, call.asked, to, What::Complete(*id)));
            }
            (Ask::Complete(id), Some((to, Answer::NotFound))) => {
                deeds.push(deed(view, call.asked, to, What::NotFound(*id)));
            }
            (Ask::Complete(_), Some((_, Answer::Refused(_)))) => {}
            (Ask::Complete(id), _) => {
                let first = failed.entry(*id).or_insert(call.asked);
                *first = call.asked.min(*first);
            }
            (Ask::List, Some((to, Answer::Listed(listed)))) => {
                deeds.push(deed(view, call.asked, to, What::List(listed)));
            }
            _ => {}
        }
    }
    for (id, asked) in failed {
        let listed = view.lists.iter().find(|it| it.listed.shows((id, true)));
        let told = view.told.iter().find(|(.., told)| *told == (id, true));
        let seen = [listed.map(|it| it.done), told.map(|(told, ..)| *told)];
        let seen = seen.into_iter().flatten().min();
        if let Some(to) = seen.filter(|to| *to > asked) {
            deeds.push(deed(view, asked, to, What::Complete(id)));
        }
    }
    deeds.sort_by_key(|deed| deed.to);
    deeds
}

fn deed<'a>(view: &View, from: usize, to: usize, what: What<'a>) -> Deed<'a> {
    let list = view.lists.binary_search_by_key(&to, |list| list.done);
    let mut records = vec![from, to];
    records.extend(list.map(|at| view.lists[at].asked));
    Deed {
        from,
        to,
        what,
        records,
    }
}

/// Whether some order of the calls explains what they say of these tasks.
fn holds(calls: &[&Deed], tasks: &[i32]) -> bool {
    let bits = |is: &dyn Fn(i32) -> bool| -> u32 {
        let numbered = tasks.iter().enumerate();
        numbered
            .filter(|(_, id)| is(**id))
            .map(|(bit, _)| 1 << bit)
            .sum()
    };
    let step = |what: &What| match what {
        What::Add(id) => Step::Add(bits(&|it| it == *id)),
        What::Complete(id) => Step::Complete(bits(&|it| it == *id)),
        What::NotFound(id) => Step::NotFound(bits(&|it| it == *id)),
        What::List(listed) => Step::List(
            bits(&|it| listed.shows((it, false))),
            bits(&|it| listed.shows((it, true))),
        ),
    };
    let mut actions = Vec::new();
    for (process, call) in calls.iter().enumerate() {
        let step = step(&call.what);
        actions.push((call.from, (process, Action::Call(step.clone()))));
        actions.push((call.to, (process, Action::Response(step))));
    }
    actions.sort_by_key(|(at, _)| *at);
    let actions: Vec<_> = actions.into_iter().map(|(_, action)| action).collect();
    actions.is_empty() || WGLChecker::<Cut>::is_linearizable(Calls::from_actions(actions))
}
