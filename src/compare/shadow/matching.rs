//! What two implementations have to differ in: times and ids. They are taken out of a
//! value before it is compared, and matched: what the left side calls by one time or id,
//! the right side has to call by one, too, wherever it comes up.

use std::collections::HashMap;

use protobuf::reflect::MessageDescriptor;
use protobuf_json_mapping::{PrintOptions, print_to_string_with_options};
use serde_json::Value;

use crate::fanout::clock::Timestamp;

/// How far apart the times of one message may be, in nanoseconds.
const CLOCKS: u64 = 20_000_000_000;
/// Times and ids that are remembered.
const REMEMBERED: usize = 64 * 1024;
/// Fields that are random, or the server's own: that they are there is compared.
const OWN: &str = "currentPrice priceChange changePercent volume timestamp epoch";

/// A time in nanoseconds, or an id.
type Mark = (bool, i64);

/// A value without its times and ids, and those in their order.
#[derive(Clone, Debug)]
pub struct Masked {
    pub value: Value,
    marks: Vec<Mark>,
}

impl Masked {
    pub fn of(mut value: Value) -> Self {
        let mut marks = Vec::new();
        mask(&mut value, &mut marks);
        Self { value, marks }
    }

    pub fn time(&self) -> Option<i64> {
        self.marks.first().filter(|mark| mark.0).map(|mark| mark.1)
    }
}

fn mask(value: &mut Value, marks: &mut Vec<Mark>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, marks)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let time = value.as_str().and_then(Timestamp::parse);
                let masked = match (&**name, time, value.as_i64()) {
                    ("sendTime", Some(time), _) => {
                        marks.push((true, time.nanos()));
                        // The form stays: it may have other digits.
                        value.to_string().replace(|c: char| c.is_ascii_digit(), "0")
                    }
                    ("id" | "taskId", _, Some(id)) => {
                        marks.push((false, id));
                        "id".into()
                    }
                    (name, ..) if OWN.contains(name) && !value.is_null() => "own".into(),
                    _ => {
                        mask(value, marks);
                        continue;
                    }
                };
                *value = masked.into();
            }
        }
        _ => {}
    }
}

/// Which time or id of the left side goes with which one of the right side, by their
/// answers. What the judge gets from the second side's streams comes behind these.
#[derive(Default)]
pub struct Marks([HashMap<Mark, Mark>; 2]);

impl Marks {
    /// Whether these may be the same, by all that is known.
    pub fn agree(&self, left: &Masked, right: &Masked) -> bool {
        let known = |side: usize, mark, other| self.0[side].get(mark).is_none_or(|it| it == other);
        let mut pairs = left.marks.iter().zip(&right.marks);
        pairs.all(|(left, right)| known(0, left, right) && known(1, right, left))
    }

    /// From now on these go together. What is wrong with them, if anything is.
    pub fn learn(&mut self, left: &Masked, right: &Masked) -> Option<&'static str> {
        let agreed = self.agree(left, right);
        for (known, [mine, theirs]) in self.0.iter_mut().zip([[left, right], [right, left]]) {
            if known.len() > REMEMBERED {
                known.clear();
            }
            known.extend(mine.marks.iter().copied().zip(theirs.marks.iter().copied()));
        }
        match far_apart(left, right) {
            true => Some("times far apart"),
            false => (!agreed).then_some("time or id is another one than before"),
        }
    }
}

pub fn far_apart(left: &Masked, right: &Masked) -> bool {
    let times = left.time().zip(right.time());
    times.is_some_and(|(left, right)| left.abs_diff(right) > CLOCKS)
}

/// A message of this type as JSON, with all its fields; its bytes if it is none.
pub fn json(kind: &MessageDescriptor, bytes: &[u8]) -> Value {
    let options = PrintOptions {
        always_output_default_values: true,
        ..PrintOptions::default()
    };
    let read = kind.parse_from_bytes(bytes).ok();
    let text = read.and_then(|it| print_to_string_with_options(&*it, &options).ok());
    let value = text.and_then(|text| serde_json::from_str(&text).ok());
    value.map_or_else(|| bytes.escape_ascii().to_string().into(), nine_digits)
}

/// As many digits for each time, which on this wire are not the sender's choice.
fn nine_digits(mut value: Value) -> Value {
    let messages = value.get_mut("messages").and_then(Value::as_array_mut);
    messages
        .into_iter()
        .flatten()
        .for_each(|it| *it = nine_digits(it.take()));
    if let Some(time) = value["sendTime"].as_str().and_then(Timestamp::parse) {
        value["sendTime"] = time.rfc3339().into();
    }
    value
}
