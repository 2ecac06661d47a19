//! The judgement of a run: its promises, and the smallest history that shows how one
//! of them was broken.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::record::{Event, History, Note};

/// What a service promises, and how a history is held against it.
pub struct Promise<E> {
    pub name: &'static str,
    /// Looks for the first violation.
    pub check: fn(&History<E>) -> Result<(), Violation>,
}

/// One that a history shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub says: String,
    /// The records that show it without the others.
    pub records: Vec<usize>,
}

impl Violation {
    pub fn new(says: impl Into<String>, records: impl IntoIterator<Item = usize>) -> Self {
        Self {
            says: says.into(),
            records: records.into_iter().collect(),
        }
    }
}

/// What the promises say of a history: for each that is broken its name, what is
/// wrong, and the records that show it.
pub fn judge<E: Event>(
    history: &History<E>,
    promises: &[Promise<E>],
) -> Vec<(&'static str, Violation)> {
    let broken = promises
        .iter()
        .filter_map(|promise| Some((promise.name, (promise.check)(history).err()?)));
    broken.collect()
}

/// A violation as a table of who noted what when.
pub fn tell<E: Event>(history: &History<E>, promise: &str, violation: &Violation) -> String {
    let mut text = format!("broken: {promise}: {}\n", violation.says);
    for record in &history.only(&violation.records).records {
        let client = &history.head.clients[record.by as usize];
        let what = match &record.note {
            Note::Begun(fault) => format!("begun: {fault}"),
            Note::Ending(fault) => format!("ending: {fault}"),
            Note::Saw(event) => event.tell(),
        };
        let ms = record.at as f64 / 1e6;
        writeln!(text, "{ms:>14.6} ms  {client:<16}  {what}").expect("a string");
    }
    text
}

/// Holds promises against histories in which something is planted: the promise that
/// is named has to find it, and again in the records that it shows alone; and each
/// promise has to be named at least once.
pub fn finds<E: Event>(
    sound: &History<E>,
    promises: &[Promise<E>],
    planted: impl IntoIterator<Item = (&'static str, &'static str, History<E>)>,
) {
    let broken = judge(sound, promises);
    assert!(broken.is_empty(), "without a fault: {broken:?}");
    let mut named = BTreeSet::new();
    for (what, expected, history) in planted {
        named.insert(expected);
        let broken = judge(&history, promises);
        let found = broken.iter().find(|(name, _)| *name == expected);
        let Some((_, violation)) = found else {
            panic!("{what}: {expected:?} has not found it, but: {broken:?}");
        };
        let smallest = history.only(&violation.records);
        assert!(
            smallest.records.len() < 20,
            "{}",
            tell(&history, expected, violation)
        );
        let again = judge(&smallest, promises);
        assert!(
            again.iter().any(|(name, _)| *name == expected),
            "{what}: not shown by {}",
            tell(&history, expected, violation)
        );
    }
    for promise in promises {
        assert!(
            named.contains(promise.name),
            "nothing is planted for {:?}",
            promise.name
        );
    }
}
