//! Who may ask, and how often.

mod admission;
pub mod gate;
pub mod rate;

pub use admission::Admission;
