//! Who may do what, and how often.

mod command;
mod http;
mod login;
mod methods;
mod programs;
mod rate;
mod streams;
