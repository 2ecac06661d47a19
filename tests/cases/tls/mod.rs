//! TLS, from outside.

mod databases;
