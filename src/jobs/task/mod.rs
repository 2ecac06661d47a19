//! Tasks: what the body of a message asks for, and how the answer is worked out.
//!
//! A body is UTF-8: `fact:N` is a factorial, `freq:TEXT` the most frequent
//! letter, and anything else a user to put into a group.

mod factorial;
mod group;
mod letter;

pub use factorial::{MAX_FACTORIAL, factorial};
pub use group::{Group, group};
pub use letter::{Letter, most_frequent_letter};

use crate::error::Error;

/// The largest body of a task, in bytes.
pub const MAX_BYTES: usize = 32 * 1024;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    Factorial(i64),
    MostFrequentLetter(String),
    AssignGroup(String),
}

impl Task {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// `InvalidArgument` for a body that no server could answer: empty, over
    /// [`MAX_BYTES`], not UTF-8, or a factorial of no 64-bit integer.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        if body.len() > MAX_BYTES {
            return Err(Error::invalid(format!(
                "the task has {} bytes; at most {MAX_BYTES} are allowed",
                body.len()
            )));
        }
        let text = std::str::from_utf8(body)
            .map_err(|error| Error::invalid(format!("the task is not UTF-8: {error}")))?;
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
            None => Self::AssignGroup(text.to_owned()),
        })
    }
}

/// The tasks in a line that people write, with commas between them.
pub fn split(line: &str) -> impl Iterator<Item = &str> {
    line.split(',')
        .map(str::trim)
        .filter(|task| !task.is_empty())
}

/// The answer to ProcessMessage. Upper case by Unicode's full mapping.
pub fn process(text: &str) -> String {
    format!("Обработано сервером: {}", text.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_kinds() {
        let parse = |text: &str| Task::parse(text.as_bytes()).unwrap();
        assert_eq!(parse("fact:6"), Task::Factorial(6));
        assert_eq!(parse("fact:-1"), Task::Factorial(-1));
        assert_eq!(parse("freq:a,b"), Task::MostFrequentLetter("a,b".into()));
        assert_eq!(parse("freq:"), Task::MostFrequentLetter(String::new()));
        assert_eq!(parse("user42"), Task::AssignGroup("user42".into()));
        assert_eq!(parse("Fact:6"), Task::AssignGroup("Fact:6".into()));
    }

    #[test]
    fn refuses_what_no_server_could_answer() {
        let long = vec![b'a'; MAX_BYTES + 1];
        for (body, named) in [
            (b"".as_slice(), "empty"),
            (b" \n", "empty"),
            (b"\xff", "not UTF-8"),
            (b"fact:abc", "\"abc\""),
            (b"fact:", "\"\""),
            (b"fact:9223372036854775808", "too large"),
            (&long, "32769 bytes"),
        ] {
            let error = Task::parse(body).unwrap_err();
            assert!(error.message.contains(named), "{error}");
        }
        assert!(Task::parse(&long[1..]).is_ok());
    }

    #[test]
    fn only_a_line_of_people_is_split() {
        let tasks: Vec<_> = split(" user42, fact:6 ,,freq:abracadabra,").collect();
        assert_eq!(tasks, ["user42", "fact:6", "freq:abracadabra"]);
    }

    #[test]
    fn processes_by_the_full_mapping() {
        assert_eq!(process("straße ŉ"), "Обработано сервером: STRASSE ʼN");
    }
}
