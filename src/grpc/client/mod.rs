//! What the services' clients share: a connection with blocking calls and
//! streams. Works against any server of the same contract.

mod connection;
mod link;
mod stream;

pub use connection::{Connection, environment};
pub use link::{Keepalive, Settings};
pub use stream::{Proof, Requests, Stream, from_grpcio};
