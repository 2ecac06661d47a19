//! What the answers of a log have to agree on, whichever replica gave them. No
//! port, no thread: bodies in, violations out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Deserialize;

use crate::history::entry::SHOWN;

/// How many violations are kept in words; the others are counted.
const KEPT: usize = 20;

/// One message of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    sent_at: Cow<'a, str>,
    number: i64,
    sender_count: i64,
}

impl Entry<'_> {
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.sender, &self.text, &self.sent_at, self.sender_count).hash(&mut hasher);
        hasher.finish()
    }
}

/// What all answers so far say of one number.
struct Seen {
    sender: String,
    sender_count: i64,
    sent_at: String,
    fingerprint: u64,
    /// Whether it was the last one of some answer.
    answered: bool,
}

/// All answers of a run.
#[derive(Default)]
pub struct Book {
    seen: HashMap<i64, Seen>,
    violations: Violations,
}

/// What is wrong with a log.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// The first of them, one line each.
    pub kept: Vec<String>,
    pub count: usize,
}

impl Violations {
    fn add(&mut self, what: String) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(what);
        }
    }
}

impl Book {
    /// Checks the answer to one message: what it says, and what it says
    /// otherwise than those before. Returns the message's number.
    pub fn answer(&mut self, sender: &str, text: &str, body: &[u8]) -> Option<i64> {
        let entries: Vec<Entry> = match serde_json::from_slice(body) {
            Ok(entries) => entries,
            Err(error) => {
                self.violations.add(format!(
                    "the answer to {text:?} is no list of messages: {error}"
                ));
                return None;
            }
        };
        let Some(own) = entries.last() else {
            self.violations
                .add(format!("the answer to {text:?} is empty"));
            return None;
        };
        let number = own.number;
        if own.sender != sender || own.text != text {
            self.violations.add(format!(
                "the answer to {text:?} of {sender:?} ends with {:?} of {:?}",
                own.text, own.sender
            ));
        }
        let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
        let first = (number - SHOWN as i64 + 1).max(1);
        if !numbers.iter().copied().eq(first..=number) {
            self.violations.add(format!(
                "the answer to number {number} has the numbers {numbers:?}, not {first} to {number}"
            ));
        }
        for entry in &entries {
            self.see(entry);
        }
        let own = self.seen.get_mut(&number);
        if own.is_some_and(|own| std::mem::replace(&mut own.answered, true)) {
            self.violations
                .add(format!("number {number} was given to two messages"));
        }
        Some(number)
    }

    fn see(&mut self, entry: &Entry) {
        let fingerprint = entry.fingerprint();
        match self.seen.entry(entry.number) {
            Place::Occupied(seen) if seen.get().fingerprint != fingerprint => {
                let what = format!("number {} is two messages in two answers", entry.number);
                self.violations.add(what);
            }
            Place::Occupied(_) => {}
            Place::Vacant(place) => {
                if !is_time(&entry.sent_at) {
                    self.violations.add(format!(
                        "sentAt of number {} is no time in UTC with nine digits: {:?}",
                        entry.number, entry.sent_at
                    ));
                }
                place.insert(Seen {
                    sender: entry.sender.clone().into_owned(),
                    sender_count: entry.sender_count,
                    sent_at: entry.sent_at.clone().into_owned(),
                    fingerprint,
                    answered: false,
                });
            }
        }
    }

    /// Checks what shows only at the end: dates and counts along the numbers.
    pub fn close(mut self) -> Violations {
        let mut seen: Vec<_> = self.seen.into_iter().collect();
        seen.sort_unstable_by_key(|(number, _)| *number);
        // Up to where no number is missing, and the last of each sender.
        let (mut contiguous_from, mut before) = (0, None::<(i64, &Seen)>);
        let mut last: HashMap<&str, (i64, i64)> = HashMap::new();
        for (number, message) in &seen {
            if let Some((previous, other)) = before {
                if previous + 1 != *number {
                    contiguous_from = *number;
                }
                if other.sent_at > message.sent_at {
                    self.violations.add(format!(
                        "sentAt falls from {} of number {previous} to {} of number {number}",
                        other.sent_at, message.sent_at
                    ));
                }
            } else {
                contiguous_from = *number;
            }
            before = Some((*number, message));
            let count = message.sender_count;
            let wrong = match last.get(&*message.sender) {
                // All between the two are known.
                Some((previous, counted)) if *previous >= contiguous_from => count != counted + 1,
                Some((previous, counted)) => {
                    !(counted + 1..=counted + (number - previous)).contains(&count)
                }
                None => !(1..=*number).contains(&count) || (contiguous_from == 1 && count != 1),
            };
            if wrong {
                let counted = last.get(&*message.sender).map_or(0, |last| last.1);
                self.violations.add(format!(
                    "number {number}: senderCount is {count} after {counted} of {:?}",
                    message.sender
                ));
            }
            last.insert(&message.sender, (*number, count));
        }
        self.violations
    }
}

/// RFC 3339 in UTC with nine digits, so that times in order are texts in order.
fn is_time(text: &str) -> bool {
    let whole = chrono::DateTime::parse_from_rfc3339(text).is_ok();
    whole && text.len() == "2026-01-02T03:04:05.123456789Z".len() && text.ends_with('Z')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The last ten of a sound log of so many messages of two senders.
    fn sound(count: i64) -> Vec<Value> {
        let message = |n: i64| {
            json!({
                "sender": if n % 2 == 1 { "anna" } else { "boris" },
                "text": format!("t{n}"),
                "sentAt": format!("2026-01-02T03:04:05.{n:09}Z"),
                "number": n,
                "senderCount": (n + 1) / 2,
            })
        };
        ((count - 9).max(1)..=count).map(message).collect()
    }

    /// Each answer goes through `change` with its number.
    fn violations(change: impl Fn(i64, &mut Vec<Value>)) -> Violations {
        let mut book = Book::default();
        for number in 1..=30 {
            let mut answer = sound(number);
            change(number, &mut answer);
            let sender = if number % 2 == 1 { "anna" } else { "boris" };
            let body = serde_json::to_vec(&answer).unwrap();
            book.answer(sender, &format!("t{number}"), &body);
        }
        book.close()
    }

    #[test]
    fn a_sound_log_passes_also_from_its_middle_on_and_with_others() {
        assert_eq!(violations(|_, _| {}).count, 0);
        let mut book = Book::default();
        for number in [50, 100, 101] {
            let sender = if number % 2 == 1 { "anna" } else { "boris" };
            let body = serde_json::to_vec(&sound(number)).unwrap();
            assert_eq!(
                book.answer(sender, &format!("t{number}"), &body),
                Some(number)
            );
        }
        assert_eq!(book.close().count, 0);
    }

    #[test]
    fn each_fault_is_seen_and_named() {
        type Change = fn(i64, &mut Vec<Value>);
        let faults: [(&str, Change); 10] = [
            ("ends with", |n, answer| {
                let later = sound(n + 1).pop();
                answer.extend(later.filter(|_| n == 20));
            }),
            ("has the numbers", |n, answer| {
                if n == 20 {
                    answer.swap(3, 4);
                }
            }),
            ("has the numbers", |n, answer| {
                if n == 20 {
                    answer.remove(5);
                }
            }),
            ("has the numbers", |n, answer| {
                if n == 20 {
                    answer.remove(0);
                }
            }),
            ("was given to two", |n, answer| {
                if n == 21 {
                    *answer = sound(19);
                }
            }),
            ("is two messages", |n, answer| {
                if n == 20 {
                    answer[2]["text"] = "another".into();
                }
            }),
            ("senderCount", |_, answer| {
                for message in answer {
                    if message["number"].as_i64() > Some(20) {
                        message["senderCount"] = 5.into();
                    }
                }
            }),
            ("sentAt falls", |_, answer| {
                for message in answer.iter_mut().filter(|m| m["number"] == 20) {
                    message["sentAt"] = "2026-01-02T03:04:05.000000001Z".into();
                }
            }),
            ("no time", |_, answer| {
                for message in answer.iter_mut().filter(|m| m["number"] == 20) {
                    message["sentAt"] = "2026-01-02T03:04:05.0000Z".into();
                }
            }),
            ("no list", |n, answer| {
                if n == 20 {
                    answer[2]["number"] = "18".into();
                }
            }),
        ];
        for (words, fault) in faults {
            let found = violations(fault);
            assert!(
                found.kept.iter().any(|line| line.contains(words)),
                "{words}: {found:?}"
            );
        }
    }

    #[test]
    fn no_more_than_a_screen_of_violations_is_kept() {
        let found = violations(|_, answer| answer.clear());
        assert_eq!((found.kept.len(), found.count), (KEPT, 30));
    }
}
