//! gRPC on the C core: the server with its streams and health, and the client.
//!
//! The C core calls handlers on its completion-queue threads ("grpc-N"), and a
//! handler never blocks there. A server stream has a thread of its own that
//! blocks (`stream`); between the two stands one hand-over per batch (`writer`).

pub mod blocking;
pub mod client;
pub mod handler;
pub mod health;
mod lane;
pub mod server;
pub mod stream;
mod writer;
