//! The services: each has a `Config`, and `start(config)` that returns a handle
//! whose `shut_down` ends it. None of them imports another one; the bridge
//! reaches the chat only through gRPC.

pub mod bridge;
pub mod chat;
