//! gRPC on the C core: the server with its streams and health, and the client.
//!
//! The C core calls handlers on its completion-queue threads ("grpc-N"), and a
//! handler never blocks there. A server stream has a thread of its own that
//! blocks for its peer (`stream`). As long as the peer keeps up, a completion
//! queue's thread forwards (`run_queue`), and either way whole batches are handed
//! over to the C core (`writer`).

pub mod blocking;
pub mod client;
pub mod duplex;
pub mod handler;
pub mod health;
pub mod host;
pub mod journal;
pub mod method;
pub mod server;
pub mod stream;
pub mod subscription;
