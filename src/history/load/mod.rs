//! The message log under load: a client that checks every answer, and our
//! replicas beside others on one database.

pub mod check;
pub mod plot;
pub mod run;
