//! TLS, from outside.

mod change;
mod clients;
mod grpc;
