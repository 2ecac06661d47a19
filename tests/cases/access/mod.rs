//! Who may ask, and how often.

mod http;
mod login;
mod rate;
