//! Ids and keys that people and programs give: visible ASCII characters, so that they
//! are the same in headers, metadata, URLs and on a terminal.

use std::hash::{BuildHasher as _, RandomState};

use crate::error::{Code, Error};

/// The header, and in lower case the metadata, with the key by which a message is known
/// when it is sent again.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest idempotency key, and the longest id of a job.
pub const LONGEST: usize = 128;

/// Whether this is 1 to `most` visible ASCII characters.
pub fn is_visible(text: impl AsRef<[u8]>, most: usize) -> bool {
    let text = text.as_ref();
    (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

/// A new one: 128 random bits, in hexadecimal digits.
pub fn random() -> String {
    // Its keys are the system's randomness.
    let keys = RandomState::new();
    format!("{:016x}{:016x}", keys.hash_one(0), keys.hash_one(1))
}

/// An idempotency key, as it came.
///
/// # Errors
/// `InvalidArgument` that names the limit.
pub fn checked(key: &(impl AsRef<[u8]> + ?Sized)) -> Result<&str, Error> {
    let key = key.as_ref();
    let sound = is_visible(key, LONGEST).then(|| std::str::from_utf8(key).ok());
    sound.flatten().ok_or_else(|| {
        let rule = format!("has to be 1 to {LONGEST} visible ASCII characters");
        Error::invalid(format!("{IDEMPOTENCY_KEY}: {rule}"))
    })
}

/// The error for a key that came with other content before.
pub fn taken(content: &str) -> Error {
    let reason = format!("{IDEMPOTENCY_KEY}: it was given with another {content}");
    Error::new(Code::AlreadyExists, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_is_visible_and_one_more_is_not() {
        for text in ["a", "~", "!", &"~".repeat(8)] {
            assert!(is_visible(text, 8), "{text:?}");
        }
        for text in [
            "",
            &"a".repeat(9),
            "a b",
            "a\n",
            "ä",
            "\u{1b}[31m",
            "\u{7f}",
        ] {
            assert!(!is_visible(text, 8), "{text:?}");
        }
        assert!(!is_visible(b"\xff", 8));
    }

    #[test]
    fn the_error_names_key_and_limit() {
        let longest = "k".repeat(LONGEST);
        assert_eq!(checked(&longest), Ok(&*longest));
        let message = checked(&(longest + "k")).unwrap_err().message;
        let said = "Idempotency-Key: has to be 1 to 128 visible ASCII characters";
        assert_eq!(message, said);
    }
}
