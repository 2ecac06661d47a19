//! gRPC on the C core: server, server streams (`stream`), bidirectional streams
//! (`duplex`), health, and what the services' clients share (`client`).
//!
//! The C core calls handlers on its completion-queue threads ("grpc-N"), and a
//! handler never blocks there. Each stream has a thread of its own that blocks
//! when its peer is slow: that is the backpressure, and no stream holds up another
//! one.

#[cfg(not(feature = "shuttle"))]
pub mod blocking;
#[cfg(not(feature = "shuttle"))]
pub mod client;
#[cfg(not(feature = "shuttle"))]
mod config;
#[cfg(not(feature = "shuttle"))]
pub mod duplex;
#[cfg(not(feature = "shuttle"))]
pub mod handler;
#[cfg(not(feature = "shuttle"))]
pub mod health;
#[cfg(not(feature = "shuttle"))]
pub mod host;
#[cfg(not(feature = "shuttle"))]
pub mod journal;
#[cfg(not(feature = "shuttle"))]
pub mod method;
#[cfg(not(feature = "shuttle"))]
mod request;
#[cfg(not(feature = "shuttle"))]
pub mod server;
pub mod stream;
#[cfg(not(feature = "shuttle"))]
pub mod subscription;

#[cfg(not(feature = "shuttle"))]
/// A stream's thread does little, and there may be ten thousand of them.
const STACK_BYTES: usize = 64 * 1024;
