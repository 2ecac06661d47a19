//! Small messaging services built on one idea: *an ordered fan-out guarded by a
//! mutex, one OS thread per stream, no async runtime of our own*.
//!
//! # The map
//!
//! Arrows run one way: `domain <- wire <- grpc | http | store | queue <- service <- cli`.
//!
//! | module | what it holds | read first |
//! |---|---|---|
//! | [`domain`] | the rules, without a port | `broadcast`, the heart |
//! | [`wire`] | generated messages, conversions, JSON, status tables | `method` |
//! | [`grpc`] | the C core: server, streams, health, client | `stream`, then `writer` |
//! | [`http`] | the front, and the tiny_http loops behind it | `front` |
//! | [`store`] | what outlives a process: SQLite files, PostgreSQL | `sqlite`, `history` |
//! | [`queue`] | tasks on their way: RabbitMQ, or embedded in a SQLite file | `mod` |
//! | [`service`] | chat, to-do list, ticker, bridge, console, history, jobs | `chat` |
//! | [`bench`] | measurements | `fanout` |
//! | [`compare`] | side by side with other implementations | `behaviour`, `speed` |
//! | [`cli`] | text to typed configuration, a file for each command | |
//!
//! # Invariants, as absences
//!
//! - No socket, no thread, no generated type and no serde type in `domain`.
//! - No blocking call inside the broadcast's critical section: no send that can
//!   wait, no I/O, no callback but the one that encodes.
//! - No blocking call in a gRPC handler: it runs on a completion-queue thread.
//! - No panic passes from a handler into a thread that serves others.
//! - No queue, buffer, body, header, count of threads or wait without a bound.
//! - No service imports another; bridge and console know the rest only by gRPC.
//! - No number, count or date of the log from anywhere but the transaction that
//!   stores it: no sequence, no counter in a process.
//! - No SendMessage that may have reached the server is sent again.
//! - No future but those that grpcio and lapin ask for, in `grpc` and in
//!   `queue::rabbitmq`; no service awaits anything.
//!
//! The cargo feature `shuttle` leaves only `domain`, on shuttle's primitives.

pub mod domain;

#[cfg(not(feature = "shuttle"))]
pub mod bench;
#[cfg(not(feature = "shuttle"))]
pub mod cli;
#[cfg(not(feature = "shuttle"))]
pub mod compare;
#[cfg(not(feature = "shuttle"))]
pub mod grpc;
#[cfg(not(feature = "shuttle"))]
pub mod http;
#[cfg(not(feature = "shuttle"))]
pub mod queue;
#[cfg(not(feature = "shuttle"))]
pub mod service;
#[cfg(not(feature = "shuttle"))]
pub mod store;
#[cfg(not(feature = "shuttle"))]
pub mod wire;
