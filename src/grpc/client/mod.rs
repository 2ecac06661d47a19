//! The clients: blocking calls, and streams as something to wait on. Each works
//! against any server of its contract.

mod connection;
mod stream;

pub use connection::{Connection, Keepalive, Proof, environment, named_environment};
pub use stream::{Requests, Stream};
