//! Tests from outside: real processes, real sockets. One binary, a file for each
//! topic. They run in parallel and in any order.

mod cases;
mod chaos;
mod fuzz;
mod soak;
mod support;
