//! Who may ask, and how often: a question that the front puts to its owner.
//!
//! It must not know the answer. The accepting thread asks before a connection gets a
//! thread, a connection's thread before a request gets to a lane.

use std::fmt::Debug;
use std::net::IpAddr;

pub use super::refusal::Refusal;

/// Who decides. Never waits: all other clients would.
pub trait Gate: Debug + Send + Sync {
    /// Whether a new connection from this address gets a thread.
    ///
    /// # Errors
    /// What it gets instead, before it is closed.
    fn connection(&self, peer: IpAddr) -> Result<(), Refusal>;

    /// Whether a handler hears of a request from this address.
    ///
    /// # Errors
    /// What it gets as its answer.
    fn request(&self, peer: IpAddr, asked: &Asked<'_>) -> Result<Pass, Refusal>;
}

/// Whether a request may still be answered, which a stream asks again and again, at
/// least every second. Without one, for as long as it likes.
pub type Pass = Option<Box<dyn Fn() -> bool + Send>>;

/// What is known of a request when the gate is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// The target without its query, not percent-decoded.
    pub path: &'a str,
    pub headers: &'a [(String, String)],
}

impl<'a> Asked<'a> {
    /// The values of all header fields of this name, which is in lower case.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.headers.iter();
        let fields = fields.filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| value.as_str())
    }
}
