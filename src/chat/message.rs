//! What a chat message is and what the server takes.

use crate::error::{Error, at_most};
use crate::fanout::clock::Timestamp;

/// A message that has its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub author: String,
    pub text: String,
    pub send_time: Timestamp,
}

/// The largest author and text that the server accepts, in bytes of UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub author_bytes: usize,
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            author_bytes: 256,
            text_bytes: 256 * 1024,
        }
    }
}

impl Limits {
    /// Absent or empty fields are valid, as in proto3.
    ///
    /// # Errors
    /// `InvalidArgument` that names the field and the limit.
    pub fn check(&self, author: &str, text: &str) -> Result<(), Error> {
        at_most("author", author, self.author_bytes)?;
        at_most("text", text, self.text_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_limit_itself_passes_and_one_byte_more_does_not() {
        let limits = Limits {
            author_bytes: 4,
            text_bytes: 8,
        };
        assert_eq!(limits.check("", ""), Ok(()));
        assert_eq!(limits.check("éé", "12345678"), Ok(()));
        let error = limits.check("ééx", "").unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(error.message, "author: 5 bytes, the limit is 4");
        let error = limits.check("", "123456789").unwrap_err();
        assert_eq!(error.message, "text: 9 bytes, the limit is 8");
    }
}
