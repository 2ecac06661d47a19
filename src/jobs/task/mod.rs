//! Tasks: what a message asks for, and how the answer is worked out.
//!
//! A task is UTF-8: `fact:N` is a factorial, `freq:TEXT` the most frequent
//! letter; of anything else, what has white space in it is a text to process,
//! and what has none a user to put into a group.

mod factorial;
mod group;
mod letter;
mod split;

pub use factorial::{MAX_FACTORIAL, factorial};
pub use group::{Group, group};
pub use letter::{Letter, most_frequent_letter};
pub use split::{MAX_MESSAGE_BYTES, MAX_TASKS, Part, escape, part_ids, parts, split};

use crate::error::Error;

/// The largest task, in bytes.
pub const MAX_BYTES: usize = 32 * 1024;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    Factorial(i64),
    MostFrequentLetter(String),
    AssignGroup(String),
    Process(String),
}

impl Task {
    /// Reads one task.
    ///
    /// # Errors
    /// `InvalidArgument` for a text that no server could answer: empty, over
    /// [`MAX_BYTES`], or a factorial of no 64-bit integer.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::invalid(format!(
                "the task has {} bytes; at most {MAX_BYTES} are allowed",
                text.len()
            )));
        }
        if text.trim().is_empty() {
            return Err(Error::invalid("the task is empty"));
        }
        if let Some(number) = text.strip_prefix("fact:") {
            return match number.trim().parse() {
                Ok(number) => Ok(Self::Factorial(number)),
                Err(error) => Err(Error::invalid(format!("fact: {number:?}: {error}"))),
            };
        }
        Ok(match text.strip_prefix("freq:") {
            Some(text) => Self::MostFrequentLetter(text.to_owned()),
            None if text.contains(char::is_whitespace) => Self::Process(text.to_owned()),
            None => Self::AssignGroup(text.to_owned()),
        })
    }
}

/// The answer to ProcessMessage. Upper case by Unicode's full mapping.
pub fn process(text: &str) -> String {
    format!("Обработано сервером: {}", text.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_four_kinds() {
        let parse = |text: &str| Task::parse(text).unwrap();
        assert_eq!(parse("fact:6"), Task::Factorial(6));
        assert_eq!(parse("fact:-1"), Task::Factorial(-1));
        assert_eq!(parse("freq:a,b"), Task::MostFrequentLetter("a,b".into()));
        assert_eq!(parse("freq:"), Task::MostFrequentLetter(String::new()));
        assert_eq!(parse("user42"), Task::AssignGroup("user42".into()));
        assert_eq!(parse("Fact:6"), Task::AssignGroup("Fact:6".into()));
        assert_eq!(parse("New Task!"), Task::Process("New Task!".into()));
        assert_eq!(parse("a\u{a0}b"), Task::Process("a\u{a0}b".into()));
        assert_eq!(parse("freq:a b"), Task::MostFrequentLetter("a b".into()));
    }

    #[test]
    fn refuses_what_no_server_could_answer() {
        let long = "a".repeat(MAX_BYTES + 1);
        for (text, named) in [
            ("", "empty"),
            (" \n", "empty"),
            ("fact:abc", "\"abc\""),
            ("fact:", "\"\""),
            ("fact:9223372036854775808", "too large"),
            (&long, "32769 bytes"),
        ] {
            let error = Task::parse(text).unwrap_err();
            assert!(error.message.contains(named), "{error}");
        }
        assert!(Task::parse(&long[1..]).is_ok());
    }

    #[test]
    fn processes_by_the_full_mapping() {
        assert_eq!(process("straße ŉ"), "Обработано сервером: STRASSE ʼN");
    }
}
