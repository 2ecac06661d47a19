//! Who may do what, and how often.

mod command;
mod methods;
mod programs;
mod rate;
mod streams;
