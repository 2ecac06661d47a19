//! Tasks by their numbers, which stand in their texts, and what has to come of each.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use crate::support::jobs::expected;

/// What becomes of a task. Each kind has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Gets a result.
    Good,
    /// The same, from `jobs send`.
    Sent,
    /// The same, from a plain Python producer, which sets no id and waits for no
    /// confirmation.
    Plain,
    /// Cannot succeed.
    Wrong,
    /// Its worker asks a server that lacks the service.
    Doomed,
}

const KINDS: [Kind; 5] = [
    Kind::Good,
    Kind::Sent,
    Kind::Plain,
    Kind::Wrong,
    Kind::Doomed,
];
const SHARE: u64 = 100_000;

impl Kind {
    pub fn of(task: u64) -> Option<Self> {
        let index = usize::try_from(task / SHARE).ok()?;
        KINDS.get(index).copied()
    }

    pub fn numbers(self) -> Range<u64> {
        let first = self as u64 * SHARE;
        first..first + SHARE
    }
}

/// Larger factorials have many digits.
const FACTORIALS: u64 = 1_000;

pub fn text(task: u64) -> Vec<u8> {
    let good = match task % 4 {
        0 if task < FACTORIALS => format!("fact:{task}"),
        0 | 1 => format!("user{task}"),
        2 => format!("freq:abracadabra {task}"),
        _ => format!("text {task} of words"),
    };
    match (Kind::of(task), task % 4) {
        (Some(Kind::Wrong), 0) => format!("fact:-{task}").into(),
        // Above 20,000.
        (Some(Kind::Wrong), 1) => format!("fact:{task}").into(),
        (Some(Kind::Wrong), 2) => format!("freq:{task}").into(),
        (Some(Kind::Wrong), _) => [b"\xff", task.to_string().as_bytes()].concat(),
        _ => good.into(),
    }
}

/// The number of the task with this text; one that nobody has for a text that is
/// not ours.
pub fn number(text: &str) -> u64 {
    let digits = text.split(|c: char| !c.is_ascii_digit());
    let number = digits.filter_map(|it| it.parse().ok()).next();
    let number: Option<u64> = number.filter(|it| String::from_utf8_lossy(&self::text(*it)) == text);
    number.unwrap_or(u64::MAX)
}

/// A result or an error as it is noted: of many digits a hash.
pub fn short(outcome: &str) -> String {
    if outcome.len() <= 200 {
        return outcome.into();
    }
    let mut hash = DefaultHasher::new();
    outcome.hash(&mut hash);
    format!("{} bytes, hash {:x}", outcome.len(), hash.finish())
}

/// Whether a job may be over in this way.
pub fn is_right(task: u64, state: &str, outcome: &str) -> bool {
    match Kind::of(task) {
        Some(Kind::Wrong) => state == "failed" && outcome.starts_with("INVALID_ARGUMENT: "),
        Some(Kind::Doomed) => state == "dead" && is_reason(outcome),
        Some(_) => {
            let text = String::from_utf8(text(task)).expect("a good text");
            state == "done" && outcome == short(&expected(&text))
        }
        None => false,
    }
}

pub fn is_reason(reason: &str) -> bool {
    reason.starts_with("UNIMPLEMENTED: ")
}
