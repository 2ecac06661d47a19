//! Who may do what. It knows no transport: `grpc` and `http` ask it.

mod bearer;
pub mod file;
mod right;
mod tokens;

pub use bearer::{Bearer, MAX_TOKEN_BYTES};
pub use file::Token;
pub use right::{Need, Right, Rights};
pub use tokens::{Access, Denied, Grant, Lease};
