//! The ordered fan-out: the order of messages, who receives them, and what
//! happens to a slow consumer.
//!
//! Nothing here knows a socket, a thread, generated code or serde: values come
//! in as arguments (the time of day included) and go out as values. Everything
//! may be called from any thread.

mod backlog;
pub mod broadcast;
pub mod clock;
mod missed;
pub mod replay;
mod subscriber;
