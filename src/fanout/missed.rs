//! What a subscriber is to read before what is on its channel: from the replay buffer, or
//! from somewhere else that has what is older.

use std::ops::Range;

use super::backlog::Envelope;

/// Messages of one subscriber that are not in the replay buffer any more, from somewhere
/// else; to be dropped with the subscription.
pub trait Stored<T>: Send {
    /// Takes the next ones, oldest first. Never blocks: what is not there yet leaves the
    /// batch empty, and rings the bell later. False if there are no more.
    ///
    /// # Errors
    /// [`Gone`].
    fn next(&mut self, batch: &mut Vec<Envelope<T>>) -> Result<bool, Gone>;
}

/// Some of the messages are not stored any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What is still to be read.
pub(super) enum Missed<T> {
    /// The messages of these numbers, from the replay buffer.
    Kept(Range<u64>),
    Stored(Box<dyn Stored<T>>),
}

impl<T> Missed<T> {
    pub(super) const NONE: Self = Self::Kept(0..0);
}
