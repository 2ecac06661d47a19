//! The judgement of a run: its promises, and the smallest history that shows how one
//! of them was broken.

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
