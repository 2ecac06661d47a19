//! TLS by OpenSSL.

pub mod client;
