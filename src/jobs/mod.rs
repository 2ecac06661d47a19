//! Tasks, answered in two ways: at once over gRPC (`server`), or later by workers
//! behind a queue. `desk` sends tasks and lists their results; `workers` starts
//! those who work on them (`worker`, `ledger`).
//!
//! A worker takes a message from the queue, asks the message service about each
//! task in it, and hands the jobs over to the ledger; that stores them, and only
//! when it has all of a message, tells the queue to forget it. So a crash anywhere
//! loses nothing, and a task that comes twice has one result, by its id.

pub mod client;
pub mod desk;
pub mod job;
mod ledger;
pub mod queue;
pub mod results;
pub mod server;
pub mod task;
pub mod wire;
mod worker;
pub mod workers;
