//! What the to-do list promises, held against a history. Ids rise, each change
//! happens once, and what was done stays: so all states of the list are in one line.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::event::{Answer, Ask, Change, Listed, TodoEvent};
use super::linear::linearizable;
use crate::chaos::record::History;
use crate::chaos::verdict::{Promise, Violation};

pub(super) type Todo = History<TodoEvent>;
pub(super) type Verdict = Result<(), Violation>;

pub fn all() -> Vec<Promise<TodoEvent>> {
    let promise = |name, check| Promise { name, check };
    vec![
        promise("an id has one task", one_task),
        promise("a task is added at most once", added_once),
        promise("only what was asked for happens", only_what_was_asked),
        promise("a refused change happens never", refused_never),
        promise("an answered change is in the list", answered_is_listed),
        promise("a change that is told is in the list", told_is_listed),
        promise("all lists are on one line", one_line),
        promise("a watcher is told nothing from before", nothing_before),
        promise("a change is told once", told_once),
        promise("all watchers have one order", one_order),
        promise("answered before asked is told before", answered_before),
        promise("a live watcher misses nothing", misses_nothing),
        promise("the last change is told to all", last_is_told),
        promise(
            "adding, completing and listing are linearizable",
            linearizable,
        ),
    ]
}

pub(super) struct Call<'a> {
    pub asked: usize,
    pub ask: &'a Ask,
    pub done: Option<(usize, &'a Answer)>,
}

#[derive(Default)]
struct Stream {
    opens: usize,
    registered: Option<usize>,
    told: Vec<(usize, Change)>,
    /// Whether the client went away, not the server.
    left: Option<usize>,
}

pub(super) struct List<'a> {
    pub asked: usize,
    pub done: usize,
    pub listed: &'a Listed,
}

/// The calls for one change: the first that was begun, and the first answer.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub asked: usize,
    pub done: Option<usize>,
}

pub(super) struct View<'a> {
    pub calls: BTreeMap<u64, Call<'a>>,
    streams: BTreeMap<u64, Stream>,
    /// By their answers.
    pub lists: Vec<List<'a>>,
    /// Who says that an id has this title: the calls or streams, and the record.
    pub titles: Vec<(i32, u64, usize)>,
    pub made: HashMap<Change, Made>,
    pub told: Vec<(usize, u64, Change)>,
    last: Option<(usize, i32)>,
}

impl<'a> View<'a> {
    pub fn new(history: &'a Todo) -> Self {
        let mut view = Self {
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            lists: Vec::new(),
            titles: Vec::new(),
            made: HashMap::new(),
            told: Vec::new(),
            last: None,
        };
        for (index, _, event) in history.events() {
            view.add(index, event);
        }
        // An add has its id by whoever has told it.
        let ids: HashMap<u64, i32> = view.titles.iter().map(|(id, t, _)| (*t, *id)).collect();
        for (number, call) in &view.calls {
            let (change, is_done) = match (call.ask, call.done) {
                (Ask::Add, done) => match ids.get(number) {
                    Some(id) => ((*id, false), matches!(done, Some((_, Answer::Added(_))))),
                    None => continue,
                },
                (Ask::Complete(id), done) => {
                    ((*id, true), matches!(done, Some((_, Answer::Completed))))
                }
                (Ask::List, _) => continue,
            };
            let done = call.done.map(|(done, _)| done).filter(|_| is_done);
            let asked = call.asked;
            let made = view.made.entry(change).or_insert(Made { asked, done });
            made.asked = made.asked.min(asked);
            made.done = made.done.into_iter().chain(done).min();
        }
        view
    }

    fn add(&mut self, index: usize, event: &'a TodoEvent) {
        match event {
            TodoEvent::Asked { call, ask } => {
                let done = None;
                let asked = index;
                self.calls.insert(*call, Call { asked, ask, done });
            }
            TodoEvent::Done { call: by, answer } => {
                let Some(call) = self.calls.get_mut(by) else {
                    return;
                };
                call.done = Some((index, answer));
                let (asked, done) = (call.asked, index);
                match answer {
                    Answer::Added(id) => self.titles.push((*id, *by, index)),
                    Answer::Listed(listed) => {
                        let titles = listed.titles.iter();
                        let titles = titles.map(|(id, title)| (*id, *title, index));
                        self.titles.extend(titles);
                        self.lists.push(List {
                            asked,
                            done,
                            listed,
                        });
                    }
                    _ => {}
                }
            }
            TodoEvent::Opens { stream } => {
                self.streams.entry(*stream).or_default().opens = index;
            }
            TodoEvent::Registered { stream } => {
                self.streams.entry(*stream).or_default().registered = Some(index);
            }
            TodoEvent::Told {
                stream,
                change,
                title,
            } => {
                self.titles.push((change.0, *title, index));
                self.told.push((index, *stream, *change));
                let stream = self.streams.entry(*stream).or_default();
                stream.told.push((index, *change));
            }
            TodoEvent::Left { stream } => {
                self.streams.entry(*stream).or_default().left = Some(index);
            }
            TodoEvent::Ended { .. } => {}
            TodoEvent::Last { id } => self.last = Some((index, *id)),
        }
    }

    /// The records of the calls for a change.
    fn calls_for(&self, change: Change) -> Vec<usize> {
        let made = self.made.get(&change).copied();
        made.map_or(Vec::new(), |made| {
            let mut records = vec![made.asked];
            records.extend(made.done);
            records
        })
    }

    /// The lists that were asked for after this record: the first one, and the last.
    fn later_lists(&self, than: usize) -> impl Iterator<Item = &List<'a>> {
        let from = self.lists.partition_point(|list| list.done < than);
        let first = self.lists[from..].iter().find(move |it| it.asked > than);
        let last = self.lists.last().filter(move |list| list.asked > than);
        first.into_iter().chain(last)
    }
}

impl Stream {
    fn records(&self) -> Vec<usize> {
        [self.opens].into_iter().chain(self.registered).collect()
    }
}

fn one_task(history: &Todo) -> Verdict {
    let mut known: HashMap<i32, (u64, usize)> = HashMap::new();
    let view = View::new(history);
    for (id, title, index) in view.titles {
        let (other, before) = *known.entry(id).or_insert((title, index));
        if other != title {
            let asked = [other, title].map(|it| view.calls.get(&it).map(|call| call.asked));
            let records = asked.into_iter().flatten().chain([before, index]);
            return Err(Violation::new(format!("{id} has two titles"), records));
        }
    }
    Ok(())
}

fn added_once(history: &Todo) -> Verdict {
    let mut known: HashMap<u64, (i32, usize)> = HashMap::new();
    let view = View::new(history);
    for (id, title, index) in view.titles {
        let (other, before) = *known.entry(title).or_insert((id, index));
        if other != id {
            let asked = view.calls.get(&title).map(|call| call.asked);
            let records = asked.into_iter().chain([before, index]);
            return Err(Violation::new(
                format!("{title} is {other}, and {id}"),
                records,
            ));
        }
    }
    Ok(())
}

fn only_what_was_asked(history: &Todo) -> Verdict {
    let view = View::new(history);
    for (id, title, index) in &view.titles {
        let asked = view.calls.get(title).map(|call| call.asked);
        if asked.is_none_or(|asked| asked > *index) {
            let says = format!("{id} was not asked for");
            return Err(Violation::new(says, asked.into_iter().chain([*index])));
        }
    }
    for (index, _, change) in &view.told {
        let asked = view.made.get(change).map(|made| made.asked);
        if change.1 && asked.is_none_or(|asked| asked > *index) {
            let says = format!("nobody had completed {}", change.0);
            return Err(Violation::new(says, asked.into_iter().chain([*index])));
        }
    }
    let listed = |list: &List, change: Change, asked: Option<usize>| {
        let records = asked.into_iter().chain([list.asked, list.done]);
        let says = format!("nobody had completed {}", change.0);
        Violation::new(says, records)
    };
    for (change, made) in &view.made {
        let before = view.lists.partition_point(|list| list.done < made.asked);
        if let Some(list) = view.lists[..before].last()
            && list.listed.shows(*change)
        {
            return Err(listed(list, *change, Some(made.asked)));
        }
    }
    if let Some(list) = view.lists.last() {
        let mut done = list.listed.done.iter().flat_map(|(from, to)| *from..=*to);
        if let Some(id) = done.find(|id| !view.made.contains_key(&(*id, true))) {
            return Err(listed(list, (id, true), None));
        }
    }
    Ok(())
}

fn refused_never(history: &Todo) -> Verdict {
    let view = View::new(history);
    for (id, title, index) in &view.titles {
        if let Some(call) = view.calls.get(title)
            && let Some((done, Answer::Refused(_))) = call.done
        {
            let says = format!("{id} was refused");
            return Err(Violation::new(says, [call.asked, done, *index]));
        }
    }
    // Completions of which each was refused.
    let mut open: BTreeMap<i32, Option<(usize, usize)>> = BTreeMap::new();
    for call in view.calls.values() {
        if let Ask::Complete(id) = call.ask {
            match call.done {
                Some((done, Answer::Refused(_))) => {
                    open.entry(*id).or_insert(Some((call.asked, done)));
                }
                Some((_, Answer::NotFound)) => {}
                _ => drop(open.insert(*id, None)),
            }
        }
    }
    for (id, refused) in open {
        let Some((asked, done)) = refused else {
            continue;
        };
        let listed = view
            .lists
            .last()
            .filter(|list| list.listed.shows((id, true)));
        let told = view.told.iter().find(|(.., told)| *told == (id, true));
        let seen = listed.map(|list| vec![list.asked, list.done]);
        if let Some(seen) = seen.or(told.map(|(index, ..)| vec![*index])) {
            let says = format!("the completion of {id} was refused");
            return Err(Violation::new(says, [asked, done].into_iter().chain(seen)));
        }
    }
    Ok(())
}

fn answered_is_listed(history: &Todo) -> Verdict {
    let view = View::new(history);
    for (change, made) in &view.made {
        let Some(done) = made.done else { continue };
        let mut later = view.later_lists(done);
        if let Some(list) = later.find(|list| !list.listed.shows(*change)) {
            let says = format!("{change:?} is missing in a list after its answer");
            let records = [made.asked, done, list.asked, list.done];
            return Err(Violation::new(says, records));
        }
    }
    Ok(())
}

fn told_is_listed(history: &Todo) -> Verdict {
    let view = View::new(history);
    for (told, stream, change) in &view.told {
        let mut later = view.later_lists(*told);
        if let Some(list) = later.find(|list| !list.listed.shows(*change)) {
            let says = format!("{change:?} is missing in a list after it was told");
            let records = [view.streams[stream].opens, *told, list.asked, list.done];
            return Err(Violation::new(says, records));
        }
    }
    Ok(())
}

fn one_line(history: &Todo) -> Verdict {
    let view = View::new(history);
    let mut lists: Vec<_> = view.lists.iter().collect();
    lists.sort_by_key(|list| (list.listed.age(), list.done));
    let lacks = |older: &List, newer: &List| {
        let change = older.listed.beyond(newer.listed)?;
        let says = format!("one of two lists lacks {change:?}, the other one has less");
        let records = [older.asked, older.done, newer.asked, newer.done];
        Some(Violation::new(says, records))
    };
    let mut pairs = lists.windows(2);
    if let Some(violation) = pairs.find_map(|pair| lacks(pair[0], pair[1])) {
        return Err(violation);
    }
    // The oldest list that was asked for so far, from the end.
    let mut newest: Option<&List> = None;
    for list in &view.lists {
        let before = view.lists.iter().take_while(|it| it.done < list.asked);
        newest = before.last().or(newest);
        if let Some(violation) = newest.and_then(|newest| lacks(newest, list)) {
            return Err(violation);
        }
    }
    Ok(())
}

fn nothing_before(history: &Todo) -> Verdict {
    let view = View::new(history);
    let mut first_told: HashMap<Change, usize> = HashMap::new();
    for (index, _, change) in &view.told {
        first_told.entry(*change).or_insert(*index);
    }
    for stream in view.streams.values() {
        let lists = view.lists.iter().take_while(|it| it.done < stream.opens);
        let list = lists.last();
        for (index, change) in &stream.told {
            let listed = list.filter(|list| list.listed.shows(*change));
            let answered = view.made.get(change).and_then(|made| made.done);
            let seen = [answered, first_told.get(change).copied()];
            let mut seen = seen.into_iter().flatten();
            let seen = seen.find(|seen| *seen < stream.opens);
            if listed.is_some() || seen.is_some() {
                let mut records = stream.records();
                records.extend([*index].into_iter().chain(seen));
                records.extend(view.calls_for(*change));
                records.extend(listed.into_iter().flat_map(|list| [list.asked, list.done]));
                let says = format!("{change:?} had happened before");
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn told_once(history: &Todo) -> Verdict {
    for stream in View::new(history).streams.values() {
        let mut told = HashMap::new();
        for (index, change) in &stream.told {
            if let Some(before) = told.insert(change, index) {
                let records = stream.records().into_iter().chain([*before, *index]);
                return Err(Violation::new(format!("{change:?} is told twice"), records));
            }
        }
    }
    Ok(())
}

/// What comes next to a change is the same for all, and what comes before it.
fn one_order(history: &Todo) -> Verdict {
    type Neighbours = HashMap<Change, (Change, [usize; 3])>;
    let (mut next, mut before) = (Neighbours::new(), Neighbours::new());
    for stream in View::new(history).streams.values() {
        for pair in stream.told.windows(2) {
            let [(first, a), (second, b)] = [pair[0], pair[1]];
            let records = [stream.opens, first, second];
            for (order, from, to) in [(&mut next, a, b), (&mut before, b, a)] {
                let (other, others) = *order.entry(from).or_insert((to, records));
                if other != to {
                    let says = format!("beside {from:?} there is {to:?}, and {other:?}");
                    let records = records.into_iter().chain(others);
                    return Err(Violation::new(says, records));
                }
            }
        }
        // Ids say what is missing, also to one watcher alone.
        let added = stream.told.iter().filter(|(_, change)| !change.1);
        let added: Vec<_> = added.collect();
        for pair in added.windows(2) {
            let [(first, a), (second, b)] = [*pair[0], *pair[1]];
            if a.0 + 1 != b.0 && a != b {
                let says = format!("after {} comes {}", a.0, b.0);
                let records = stream.records().into_iter().chain([first, second]);
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn answered_before(history: &Todo) -> Verdict {
    let view = View::new(history);
    for stream in view.streams.values() {
        // Of what was told so far, what was asked for last.
        let mut last: Option<(usize, usize, Change)> = None;
        for (index, change) in &stream.told {
            let Some(made) = view.made.get(change) else {
                continue;
            };
            if let (Some((asked, told, other)), Some(done)) = (last, made.done)
                && done < asked
            {
                let mut records = stream.records();
                records.extend([told, *index]);
                records.extend(view.calls_for(*change));
                records.extend(view.calls_for(other));
                let says = format!("{change:?} was answered before {other:?} was asked for");
                return Err(Violation::new(says, records));
            }
            last = last.max(Some((made.asked, *index, *change)));
        }
    }
    Ok(())
}

/// Begun after the registration, answered before the call for something that was
/// told: so it was told before that.
fn misses_nothing(history: &Todo) -> Verdict {
    let view = View::new(history);
    let mut made: Vec<_> = view.made.iter().collect();
    made.sort_by_key(|(_, made)| made.asked);
    for stream in view.streams.values() {
        let Some(registered) = stream.registered else {
            continue;
        };
        let told: BTreeSet<_> = stream.told.iter().map(|(_, change)| *change).collect();
        let asked = |(index, change): &(usize, Change)| {
            let made = view.made.get(change)?;
            Some((made.asked, *index, *change))
        };
        let Some((until, witness, later)) = stream.told.iter().filter_map(asked).max() else {
            continue;
        };
        let from = made.partition_point(|(_, made)| made.asked < registered);
        for (change, made) in &made[from..] {
            if made.done.is_some_and(|done| done < until) && !told.contains(change) {
                let mut records = stream.records();
                records.push(witness);
                records.extend(view.calls_for(**change));
                records.extend(view.calls_for(later));
                let says = format!("{change:?} was not told");
                return Err(Violation::new(says, records));
            }
        }
    }
    Ok(())
}

fn last_is_told(history: &Todo) -> Verdict {
    let view = View::new(history);
    let Some((noted, id)) = view.last else {
        return Ok(());
    };
    let Some(made) = view.made.get(&(id, false)) else {
        return Ok(());
    };
    for stream in view.streams.values() {
        let was_live = stream.registered.is_some_and(|live| live < made.asked);
        let left = stream.left.filter(|left| *left > noted);
        let told = stream.told.iter().any(|(_, change)| *change == (id, false));
        if let (true, Some(left), false) = (was_live, left, told) {
            let mut records = stream.records();
            records.extend([noted, left]);
            records.extend(view.calls_for((id, false)));
            return Err(Violation::new(format!("{id} was not told"), records));
        }
    }
    Ok(())
}
