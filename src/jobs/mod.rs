//! Tasks, answered at once over gRPC (`server`), or later by workers behind a queue.
//! `desk` sends tasks and lists their results; `workers` runs the threads that work
//! on them (`worker`, `ledger`).
//!
//! A worker takes a message from the queue, asks the message service about each
//! task in it, and hands the jobs over to the ledger. The ledger stores them, and
//! acknowledges the message only when all its jobs are stored. So a crash loses
//! nothing, and since storing a result is idempotent by the task's id, a redelivered
//! task has one result.

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
