//! Small messaging services built on one idea: *an ordered fan-out guarded by a
//! mutex, one OS thread per stream, no async runtime of our own*.
//!
//! # The map
//!
//! A folder for each service, with the same files in each: the rules, named after
//! what they are about (pure, no port), `wire` (to and from protobuf and JSON),
//! `server`, `client`, and, where something is stored, the store with its
//! migrations.
//!
//! Arrows run one way:
//! `cli -> compare -> console -> services -> grpc | http | db -> access | fanout`,
//! and every module may use `access_log`, `budget`, `error`, `json`, `latency`, `metrics`,
//! `number`, `readiness`, `reload`, `retry`, `status`, `sync`, `throttle` and `tls`.
//! Services do not know each other; `console` and `compare` know a service's
//! `client` and `wire` alone.
//!
//! | module | what it holds | read first |
//! |---|---|---|
//! | [`fanout`] | the ordered fan-out: clock, broadcast, backlog | `broadcast`, the heart |
//! | [`chat`] | messages, the server, and the bridge from HTTP to it | `message`, `server` |
//! | [`mod@todo`] | the to-do list and its file | `list`, `server` |
//! | [`ticker`] | the market and bidirectional streams | `market`, `server` |
//! | [`jobs`] | tasks answered at once, or by workers behind a queue | `job`, `worker` |
//! | [`history`] | the message log over HTTP, and load for it | `entry`, `server` |
//! | [`console`] | all of them in a browser | `hub` |
//! | [`access`] | who may do what, and how often: tokens, rights, rates | `tokens` |
//! | [`grpc`] | the C core: server, streams, health, and what clients share | `stream` |
//! | [`http`] | the front, and the tiny_http lanes behind it | `front` |
//! | [`tls`] | certificates and keys from files | |
//! | [`db`] | opening, migrating and locking SQLite and PostgreSQL | `sqlite` |
//! | [`compare`] | the laboratory: behaviour and speed beside other programs | `behaviour`, `speed` |
//! | [`cli`] | text to typed configuration, a file for each command | |
//!
//! # Invariants, as absences
//!
//! - No socket, no thread, no generated type and no serde type in `fanout` and in
//!   the services' rules.
//! - No blocking call inside the broadcast's critical section: no send that can
//!   wait, no I/O, no callback but the one that encodes.
//! - No blocking call in a gRPC handler: it runs on a completion-queue thread.
//! - No panic passes from a handler into a thread that serves others, and no
//!   long-lived thread dies alone: it begins again, or takes the process down.
//! - No byte is held for clients beyond one budget over all of them (`--memory-limit`);
//!   the C core has its own, and so have all backlogs of a broadcast together.
//! - No log line per message or per client under load: the first, then a count; and
//!   a standard error that nobody reads blocks nobody.
//! - No page, log line or document says "live", "cancelled" or "not stored" of what is
//!   not known to be so.
//! - No queue, buffer, body, header, count of threads or wait without a bound.
//! - No service imports another; bridge and console reach services as clients only.
//! - No number, count or date of the log and of a chat that servers share from anywhere but the transaction that
//!   stores it: no sequence, no counter in a process.
//! - No SendMessage that may have reached the server is sent again.
//! - No future but those that grpcio, lapin and tokio-postgres ask for, in `grpc`, in
//!   `jobs::queue::rabbitmq`, in `db` and in the laboratory's baseline server; nothing
//!   else awaits anything.
//!
//! The cargo feature `compare`, on by default, adds the laboratory: [`compare`] and
//! the commands that use it. The feature `shuttle` builds only the fan-out, the
//! delivery of a stream and the bridge's postbox, on shuttle's primitives, to explore
//! thread interleavings.

#[cfg(not(feature = "shuttle"))]
pub mod access;
#[cfg(not(feature = "shuttle"))]
pub mod access_log;
#[cfg(not(feature = "shuttle"))]
pub mod budget;
pub mod chat;
pub mod error;
pub mod fanout;
#[cfg(not(feature = "shuttle"))]
pub mod grpc;
#[cfg(feature = "shuttle")]
pub mod grpc {
    pub mod stream {
        pub mod delivery;
    }
}
pub mod sync;

#[cfg(not(feature = "shuttle"))]
pub mod cli;
#[cfg(all(feature = "compare", not(feature = "shuttle")))]
pub mod compare;
#[cfg(not(feature = "shuttle"))]
pub mod console;
#[cfg(not(feature = "shuttle"))]
pub mod db;
#[cfg(not(feature = "shuttle"))]
pub mod generated;
#[cfg(not(feature = "shuttle"))]
pub mod history;
#[cfg(not(feature = "shuttle"))]
pub mod http;
#[cfg(not(feature = "shuttle"))]
pub mod jobs;
#[cfg(not(feature = "shuttle"))]
pub mod json;
#[cfg(not(feature = "shuttle"))]
pub mod key;
#[cfg(not(feature = "shuttle"))]
pub mod latency;
#[cfg(not(feature = "shuttle"))]
pub mod metrics;
#[cfg(not(feature = "shuttle"))]
pub mod number;
#[cfg(not(feature = "shuttle"))]
pub mod readiness;
#[cfg(not(feature = "shuttle"))]
pub mod reload;
#[cfg(not(feature = "shuttle"))]
pub mod retry;
#[cfg(not(feature = "shuttle"))]
pub mod status;
#[cfg(not(feature = "shuttle"))]
pub mod throttle;
#[cfg(not(feature = "shuttle"))]
pub mod ticker;
#[cfg(not(feature = "shuttle"))]
pub mod tls;
#[cfg(not(feature = "shuttle"))]
pub mod todo;
