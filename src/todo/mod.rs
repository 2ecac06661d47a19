//! The to-do list that many people watch: every watcher sees every change, in the
//! one order in which they were made.

pub mod client;
mod file;
pub mod list;
pub mod server;
pub mod wire;
