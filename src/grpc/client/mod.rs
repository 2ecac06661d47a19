//! The clients: blocking calls, and streams as something to wait on. Each works
//! against any server of its contract.

mod chat;
mod connection;
mod message;
mod stream;
mod ticker;
mod todo;

pub use chat::{ChatClient, ChatStream};
pub use connection::{Connection, Keepalive, Proof, environment, named_environment};
pub use message::MessageClient;
pub use stream::{Requests, Stream};
pub use ticker::{TickerClient, TickerRequests, TickerStream};
pub use todo::{TodoClient, TodoStream};
