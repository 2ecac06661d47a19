//! The services. Those that a gRPC server hosts are started with a `Config` and
//! handed to `grpc::host`; the others have `start(config)`, which returns a
//! handle whose `shut_down` ends it. None of them imports another one; the
//! bridge and the web console reach the others only through gRPC.

pub mod bridge;
pub mod chat;
pub mod history;
pub mod jobs;
pub mod message;
pub mod ticker;
pub mod todo;
pub mod web;
