//! The message log over HTTP, exact over any number of replicas on one database,
//! and the load that checks it.

mod api;
pub mod client;
pub mod database;
pub mod entry;
mod executor;
pub mod load;
mod oneshot;
mod operation;
pub mod server;
mod tail;
pub mod wire;
