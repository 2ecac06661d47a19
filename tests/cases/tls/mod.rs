//! TLS, from outside.

mod change;
mod clients;
mod databases;
mod front;
mod grpc;
mod http;
mod http_clients;
