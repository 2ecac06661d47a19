//! The message log over HTTP, exact over any number of replicas on one database,
//! and the load that checks it.

mod api;
pub mod client;
pub mod database;
pub mod entry;
mod executor;
pub mod load;
mod oneshot;
pub mod server;
mod tail;
mod task;
pub mod wire;
