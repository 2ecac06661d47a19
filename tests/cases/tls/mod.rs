//! TLS, from outside.

mod change;
mod clients;
mod databases;
mod grpc;
