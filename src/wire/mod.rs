//! What goes over the wire: generated messages, the descriptions of the methods,
//! conversions to and from the domain's types, JSON, and the status tables.
//!
//! Nothing here opens a socket or starts a thread.

pub mod chat;
pub mod health;
pub mod history;
pub mod jobs;
pub mod json;
pub mod method;
pub mod status;
pub mod subscription;
pub mod ticker;
pub mod todo;

/// The messages of `proto/*.proto`, one module a file.
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}
