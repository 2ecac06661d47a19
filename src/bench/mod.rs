//! Measurements: each prints what it did, on what, and how much of whose CPU
//! time it took. The load is this process, the server always another one.

pub mod fanout;
pub mod process;
pub mod wire_reader;
