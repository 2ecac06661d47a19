//! Load for the message log: clients that check every answer.

pub mod check;
pub mod plot;
pub mod run;
