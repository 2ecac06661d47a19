//! How a message is in the table, which takes no U+0000: it is written as U+0001 and "0",
//! and U+0001 as U+0001 and "1".

use super::super::order::Sent;
use super::super::wire;
use crate::db::log::{Draft, Entry};
use crate::fanout::broadcast::Envelope;
use crate::fanout::clock::Timestamp;
use crate::grpc::method::Encoded;

/// What is appended.
pub fn draft(sent: Sent) -> Draft {
    Draft {
        sender: to_table(sent.author),
        text: to_table(sent.text),
        key: sent.key,
    }
}

/// What is published.
pub fn envelope(entry: Entry) -> Envelope<Encoded> {
    let time = Timestamp::from_nanos(entry.sent_at);
    let draft = wire::Draft::new(from_table(entry.sender), from_table(entry.text));
    let (payload, bytes) = draft.stamp(time);
    Envelope {
        time,
        bytes,
        payload,
    }
}

fn to_table(text: String) -> String {
    if !text.contains(['\0', '\u{1}']) {
        return text;
    }
    text.replace('\u{1}', "\u{1}1").replace('\0', "\u{1}0")
}

fn from_table(text: String) -> String {
    if !text.contains('\u{1}') {
        return text;
    }
    text.replace("\u{1}0", "\0").replace("\u{1}1", "\u{1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_none_in_the_table_has_a_null(text in "[\0\u{1}01a]{0,12}") {
            let stored = to_table(text.clone());
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(from_table(stored), text);
        }
    }
}
