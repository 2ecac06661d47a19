//! The log's rules: messages, limits, which requests are invalid, and which
//! messages an answer shows.

use std::ops::Range;

use crate::db::log::entry::BEFORE;
use crate::error::{Error, at_most};

pub use crate::db::log::entry::{Draft, Entry as Message, From, Page, Sender};

/// How many messages an answer shows at most, the sender's own last.
pub const SHOWN: usize = BEFORE as usize + 1;

impl Message {
    /// What a message takes in memory besides sender and text, about.
    const OVERHEAD: usize = 128;

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.sender.len() + self.text.len() + Self::OVERHEAD
    }
}

/// The largest sender and text that the log takes, in bytes of UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub sender_bytes: usize,
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sender_bytes: 256,
            text_bytes: 256 * 1024,
        }
    }
}

impl Limits {
    /// What a message takes in memory at most.
    pub fn most_bytes(&self) -> usize {
        self.sender_bytes + self.text_bytes + Message::OVERHEAD
    }

    /// # Errors
    /// `InvalidArgument` that names the field and what is wrong with it.
    pub fn check(&self, draft: &Draft) -> Result<(), Error> {
        for (field, value, limit) in [
            ("sender", &draft.sender, self.sender_bytes),
            ("text", &draft.text, self.text_bytes),
        ] {
            at_most(field, value, limit)?;
            // PostgreSQL has no text with it, and all databases take the same.
            if value.contains('\0') {
                return Err(Error::invalid(format!(
                    "{field}: the character U+0000 cannot be stored"
                )));
            }
        }
        Ok(())
    }
}

impl Page {
    /// The most messages of a page.
    pub const MOST: i64 = 1000;
    /// The most bytes of a page.
    pub const BYTES: i64 = 4 << 20;

    /// The newest message alone.
    pub fn newest() -> Self {
        Self {
            limit: 1,
            ..Self::default()
        }
    }

    /// What comes after this number, at most so many messages and bytes.
    pub fn after(number: i64, limit: i64, bytes: i64) -> Self {
        Self {
            from: From::After(number),
            limit,
            bytes,
        }
    }

    /// What a page of messages within `limits` takes in memory at most.
    pub fn most_bytes(&self, limits: &Limits) -> usize {
        let one = limits.most_bytes();
        let count = usize::try_from(self.limit).unwrap_or(1).max(1);
        let most = usize::try_from(self.bytes).unwrap_or(0);
        // Over the bytes by at most one message, the first.
        let bytes = most.max(one) + count * Message::OVERHEAD;
        bytes.min(count.saturating_mul(one))
    }
}

/// The numbers that a page lacks since they are gone: retention removes the oldest.
/// `is_empty` tells whether the log is, and is asked only if that matters.
///
/// # Errors
/// Those of `is_empty`.
pub fn gone(
    page: &Page,
    messages: &[Message],
    is_empty: impl FnOnce() -> Result<bool, Error>,
) -> Result<Option<(i64, i64)>, Error> {
    let gone = match (page.from, messages.first()) {
        (From::After(number), Some(first)) => (number + 1, first.number - 1),
        // What is there has these numbers, or higher ones.
        (From::Before(number), None) if number > 1 && !is_empty()? => (1, number - 1),
        _ => return Ok(None),
    };
    Ok(Some(gone).filter(|(from, to)| from <= to))
}

impl Default for Page {
    fn default() -> Self {
        Self {
            from: From::End,
            limit: 100,
            bytes: Self::BYTES,
        }
    }
}

/// Which of the messages belong into the answer to `own`, when `messages` are
/// the [`SHOWN`] - 1 before a batch (fewer if there are fewer) and the batch, and
/// `own` is an index of them.
pub fn shown(own: usize) -> Range<usize> {
    (own + 1).saturating_sub(SHOWN)..own + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_ten_with_its_own_last_and_fewer_at_the_beginning() {
        assert_eq!(shown(0), 0..1);
        assert_eq!(shown(9), 0..10);
        assert_eq!(shown(10), 1..11);
        assert_eq!(shown(72).len(), SHOWN);
    }

    #[test]
    fn a_page_knows_what_it_lacks() {
        let message = |number| Message {
            sender: String::new(),
            text: String::new(),
            sent_at: 0,
            number,
            sender_count: 1,
        };
        let gone = |from, messages: &[Message], is_empty: bool| {
            let page = Page {
                from,
                ..Page::default()
            };
            gone(&page, messages, || Ok(is_empty)).unwrap()
        };
        let two = [message(7), message(8)];
        assert_eq!(gone(From::After(2), &two, false), Some((3, 6)));
        assert_eq!(gone(From::After(6), &two, false), None);
        assert_eq!(gone(From::After(8), &[], false), None);
        assert_eq!(gone(From::Before(9), &two, false), None);
        assert_eq!(gone(From::Before(7), &[], false), Some((1, 6)));
        assert_eq!(gone(From::Before(7), &[], true), None);
        assert_eq!(gone(From::Before(1), &[], false), None);
        assert_eq!(gone(From::End, &two, false), None);
    }

    #[test]
    fn a_refusal_names_the_field() {
        let limits = Limits {
            sender_bytes: 4,
            text_bytes: 8,
        };
        let check = |sender: &str, text: &str| {
            let (sender, text) = (sender.into(), text.into());
            let key = None;
            let checked = limits.check(&Draft { sender, text, key });
            checked.map_err(|error| error.message)
        };
        assert_eq!(check("éé", "12345678"), Ok(()));
        assert_eq!(check("", ""), Ok(()));
        let refused = |message: &str| Err(message.to_owned());
        assert_eq!(
            check("12345", ""),
            refused("sender: 5 bytes, the limit is 4")
        );
        assert_eq!(
            check("", "123456789"),
            refused("text: 9 bytes, the limit is 8")
        );
        assert_eq!(
            check("a", "b\0"),
            refused("text: the character U+0000 cannot be stored")
        );
    }
}
