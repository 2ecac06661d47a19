//! Server streams: one thread each, and one page to know them by.
//!
//! The Python program's stream is `while True: yield queue.get()` on a thread of a
//! pool. Ours is the same loop, [`delivery::Delivery::run`], on a thread of its own,
//! with a short cut around it.
//!
//! # The parts of a stream
//!
//! | part | file | what it is |
//! |---|---|---|
//! | subscription | `fanout/broadcast` | the backlog: what was published and not sent yet |
//! | delivery | `delivery` | takes from the subscription, gives to the call; all state, one mutex |
//! | call | `call` | the C core's sink, behind the trait `Peer` |
//! | task | `call` | a future that the C core's completion queue polls, on its thread "grpc-N" |
//! | thread | `streams` | "read-7", "subscribe-8": blocked for most of its life |
//!
//! # The states
//!
//! ```text
//!            nothing to send                  a batch of 1,024 was full
//!   ┌────────────────────────────┐          ┌──────────────────────────┐
//!   │  keeps up: the task sends  │ ───────> │  lags: the thread takes  │
//!   │  what there is; the thread │ <─────── │  batch after batch, and  │
//!   │  sleeps                    │  nothing │  blocks for the peer     │
//!   └────────────────────────────┘  is left └──────────────────────────┘
//!                 │ closed, cut                          │
//!                 v                                      v
//!   ending: the status follows the message that is under way ──> over
//!                 10 s without the peer taking that: cancelled ──> over
//! ```
//!
//! A stream that ends early (`ends`: the server drains, or its age) leaves the
//! broadcast, and then goes the same way as when that is closed.
//!
//! From any state, a peer that leaves is over at once. How messages are put into
//! responses, one by one or many in one, is the call's `Framing`.
//!
//! # Who wakes whom
//!
//! | what happens | on which thread | wakes |
//! |---|---|---|
//! | a message is published, and the subscription was found empty before | publisher's | its bell, the task |
//! | closed, ended early, or cut as a slow consumer | closer's, stream-age, publisher's | its bell, the task |
//! | the C core has taken a message, and more are to be sent | grpc-N | the task |
//! | the peer has left | grpc-N | the task |
//! | the batch of a peer that lags was sent; the stream ends | grpc-N | the thread |
//! | the thread has taken the next batch, or gives up waiting | the stream's | the task |
//!
//! Only the task talks to the C core, so an operation is started on the thread that
//! sees it complete, and that wakes nobody. The thread blocks for a peer that does
//! not read, and this backpressure lets the backlog grow up to its limit.
//!
//! # Why there is a short cut
//!
//! Without it every message wakes the stream's thread, which wakes the completion
//! queue. With one message in flight, the median from send to receipt was 345 to
//! 613 us without it and 75 us with it; at 500 messages/s to 100 readers a delivery
//! cost 20 us of CPU without it and 11 with it.
//!
//! Bells put their tasks into a queue of the completion queue's thread
//! (`wake_queue`), which costs it one event for all of them. Woken one by one, a
//! delivery to one of 1,000 readers cost a quarter more.

pub mod delivery;

mod call;
mod ends;
mod places;
mod streams;
mod wake_queue;

pub use call::Framing;
pub(super) use ends::Ending;
pub use places::Place;
pub use streams::{Opening, Pair, STATUS_WAIT, Streams};
