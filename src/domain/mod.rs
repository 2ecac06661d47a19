//! The rules, without a port: what a message is, in which order it stands, who
//! gets it, and what happens to those who are too slow.
//!
//! Nothing here knows a socket, a thread, generated code or serde: values come
//! in as arguments (the time of day included) and go out as values. Everything
//! may be called from any thread.

mod backlog;
pub mod backoff;
pub mod broadcast;
pub mod chat;
pub mod clock;
pub mod error;
pub mod history;
pub mod job;
pub mod number;
pub mod postbox;
mod signal;
mod sync;
pub mod task;
pub mod throttle;
pub mod ticker;
pub mod todo;
pub mod watchlist;
