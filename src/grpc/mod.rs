//! gRPC on the C core: server, server streams (`stream`), bidirectional streams
//! (`duplex`), health, reflection, and what the services' clients share (`client`).
//!
//! The C core calls handlers on its completion-queue threads ("grpc-N"), and a
//! handler never blocks there. Each stream has a thread of its own that blocks
//! when its peer is slow: that is the backpressure, and no stream holds up another
//! one.

pub mod blocking;
pub mod client;
mod config;
mod credentials;
pub mod duplex;
pub mod environment;
mod gate;
pub mod handler;
pub mod health;
pub mod host;
pub mod journal;
pub mod meter;
pub mod method;
pub mod reflection;
mod request;
pub mod server;
pub mod stream;

/// A stream's thread does little, and there may be ten thousand of them.
const STACK_BYTES: usize = 64 * 1024;
