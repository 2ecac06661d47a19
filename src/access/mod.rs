//! Who may do what, and how often. It knows no transport but the gate of our HTTP ports:
//! `grpc` and `http` ask it.

mod admission;
mod bearer;
pub mod file;
pub mod gate;
pub mod rate;
mod right;
pub mod sessions;
mod tokens;

pub use admission::Admission;
pub use bearer::{Bearer, MAX_TOKEN_BYTES};
pub use file::Token;
pub use right::{Need, Right};
pub use tokens::{Access, Denied, Grant, Lease};
