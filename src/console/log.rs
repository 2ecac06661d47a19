//! The state of the message log for pages that open: its newest messages, and how
//! many each sender has sent. Pure: no lock, no thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::event::{self, Event};
use crate::history::client::{Message, Sender};
use crate::history::wire;

/// How many of the newest messages; pages fetch older ones themselves.
pub const MESSAGES: usize = 100;
const BYTES: usize = 1 << 20;

/// How many senders: as many as a replica answers with.
const SENDERS: usize = 1000;

#[derive(Clone, Debug, Default)]
pub struct Log {
    /// As JSON, without a hole.
    messages: VecDeque<Arc<str>>,
    bytes: usize,
    counts: HashMap<Arc<str>, i64>,
}

impl Log {
    /// `senders` may know of later messages than `messages` has.
    pub fn new(messages: &[Message], senders: Vec<Sender>) -> Self {
        let mut log = Self::default();
        let counts = senders.into_iter().map(|s| (s.sender.into(), s.count));
        log.counts = counts.take(SENDERS).collect();
        for message in messages {
            log.push(message);
        }
        log
    }

    /// Takes in the next message, and gives its event.
    pub fn push(&mut self, message: &Message) -> Event {
        let json: Arc<str> = wire::message(message).into();
        let event = event::entry(&json);
        self.bytes += json.len();
        self.messages.push_back(json);
        while self.messages.len() > MESSAGES || (self.bytes > BYTES && self.messages.len() > 1) {
            let oldest = self.messages.pop_front();
            self.bytes -= oldest.map_or(0, |json| json.len());
        }
        self.count(&message.sender, message.sender_count);
        event
    }

    /// Counts only rise. A new sender takes the place of the least one, if that
    /// has sent less.
    fn count(&mut self, sender: &str, count: i64) {
        if let Some(known) = self.counts.get_mut(sender) {
            *known = count.max(*known);
            return;
        }
        if self.counts.len() >= SENDERS {
            let least = self.counts.iter().min_by_key(|(_, count)| **count);
            let Some((least, _)) = least.filter(|(_, least)| **least < count) else {
                return;
            };
            let least = least.clone();
            self.counts.remove(&least);
        }
        self.counts.insert(sender.into(), count);
    }

    /// All of it, for a page that opens.
    pub fn event(&self) -> Event {
        let sender = |(sender, count): (&Arc<str>, &i64)| Sender {
            sender: sender.to_string(),
            count: *count,
        };
        let mut senders: Vec<_> = self.counts.iter().map(sender).collect();
        senders.sort_by(|a, b| (b.count, &a.sender).cmp(&(a.count, &b.sender)));
        event::history(self.messages.iter().map(|json| &**json), &senders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn message(number: i64, sender: &str, sender_count: i64, text: &str) -> Message {
        Message {
            sender: sender.into(),
            text: text.into(),
            sent_at: number,
            number,
            sender_count,
        }
    }

    fn told(log: &Log) -> Value {
        let event = log.event();
        let data = event.text.lines().find_map(|l| l.strip_prefix("data: "));
        serde_json::from_str(data.unwrap()).unwrap()
    }

    #[test]
    fn keeps_the_newest_and_counts_that_only_rise() {
        let sender = |sender: &str, count| Sender {
            sender: sender.into(),
            count,
        };
        // The senders were asked for later than the messages.
        let known = vec![sender("a", 3), sender("b", 1)];
        let mut log = Log::new(&[message(1, "a", 1, "")], known);
        let senders = json!([{"sender": "a", "count": 3}, {"sender": "b", "count": 1}]);
        assert_eq!(told(&log)["senders"], senders);
        for number in 2..=200 {
            log.push(&message(number, "c", number - 1, ""));
        }
        let told = told(&log);
        let messages = told["messages"].as_array().unwrap();
        assert_eq!((messages.len(), &messages[0]["number"]), (100, &json!(101)));
        assert_eq!(told["senders"][0], json!({"sender": "c", "count": 199}));
    }

    #[test]
    fn is_bounded_in_bytes_and_in_senders_but_has_the_newest_message() {
        let mut log = Log::default();
        for number in 1..=5 {
            log.push(&message(number, "a", number, &"x".repeat(BYTES / 2)));
        }
        assert_eq!(told(&log)["messages"].as_array().unwrap().len(), 1);
        for number in 0..2_000 {
            log.push(&message(number, &number.to_string(), 2, ""));
        }
        log.push(&message(2_000, "late", 1, ""));
        log.push(&message(2_001, "many", 9, ""));
        let told = told(&log);
        let senders = told["senders"].as_array().unwrap();
        assert_eq!(senders.len(), SENDERS);
        assert_eq!(senders[0]["sender"], "many");
        assert!(senders.iter().all(|s| s["sender"] != "late"));
    }
}
