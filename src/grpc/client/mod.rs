//! What the services' clients share: a connection with blocking calls and
//! streams. Works against any server of the same contract.

mod connection;
mod link;
mod stream;

pub use connection::{Connection, Proof, environment};
pub use link::{Keepalive, Settings};
pub use stream::{Requests, Stream, from_grpcio};
