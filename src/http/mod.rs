//! A buffering HTTP/1.1 front in threads, before single-threaded tiny_http loops.
//!
//! Owns the public socket, and takes in whole, well-formed requests within
//! bounds before any handler hears of them. It must not know what the requests
//! are about: no gRPC, no chat, nothing else of this crate.
//!
//! Why a front: one slow client blocks a single-threaded loop (head-of-line
//! blocking), and tiny_http 0.12 on a public port can be made to abort, hang or
//! lose its listener by a single request (each case is a test).
//!
//! ```text
//! client --TCP-- http-conn-N --.                                  one thread per connection
//! client --TCP-- http-conn-N --+--Unix socket-- tiny_http -- lane   one loop per handler
//! client --TCP-- http-conn-N --'
//! ```
//!
//! Read in this order: `front` starts and stops everything; `accept` gives
//! each client a thread and lists it (`open`); `connection` is that thread's
//! loop, which takes in a request (`intake`, `head`, `chunked`, `origin`, `gate`), passes it
//! through a private connection (`exchange`, `answer`) to the loop that calls the handler
//! (`lane`), and writes the answer (`socket`). `receipt` tells a handler
//! when that last step failed. `journal` counts requests and writes their lines.
//!
//! An answer may also be streamed ([`Response::stream`]). Its handler returns at
//! once, like any other, with a [`Source`], which `receipt` passes to the
//! connection's thread. Only that thread waits for the source and writes what
//! comes (`stream`), so no stream ever holds a lane. Large arrays are such a source,
//! too (`array`), so no answer is in memory whole. What is in memory for clients
//! counts against one [`Budget`](crate::budget::Budget) over all connections.
//!
//! A request may wait before its lane ([`Line`]), on its connection's thread too
//! (`wait`), so that a loop never waits for what another request has to bring.
//!
//! `client` is the other side: a minimal client that puts load on such a front.
//!
//! Every buffer, queue and wait is bounded, most of them by [`Limits`].

mod accept;
pub mod agent;
mod answer;
mod array;
mod chunked;
pub mod client;
mod connection;
mod exchange;
mod front;
mod gate;
mod head;
mod intake;
mod journal;
mod lane;
mod limits;
mod message;
mod open;
mod origin;
mod ready;
mod receipt;
mod refusal;
mod socket;
mod stream;
mod tls;
mod wait;

pub use front::{Front, Serving};
pub use gate::{Asked, Gate, Pass, Refusal};
pub use head::{Framing, Head};
pub use intake::{Failure, Intake};
pub use limits::Limits;
pub use message::{Request, Response, Undelivered};
pub use socket::{Client, ReadError};
pub use stream::{Next, Source};
pub use wait::{Line, Place, Turn};
