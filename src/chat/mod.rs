//! The chat: every subscriber sees every message, in one order, with strictly
//! increasing times, and nothing from before it subscribed. `bridge` is the
//! HTTP gateway to a chat server.

#[cfg(not(feature = "shuttle"))]
pub mod bridge;
#[cfg(feature = "shuttle")]
pub mod bridge {
    pub mod link;
    pub mod postbox;
}
#[cfg(not(feature = "shuttle"))]
pub mod client;
#[cfg(not(feature = "shuttle"))]
pub mod json;
#[cfg(not(feature = "shuttle"))]
pub mod keys;
pub mod message;
#[cfg(not(feature = "shuttle"))]
pub mod order;
#[cfg(not(feature = "shuttle"))]
pub mod server;
#[cfg(not(feature = "shuttle"))]
pub mod shared;
#[cfg(not(feature = "shuttle"))]
mod subscribe;
#[cfg(not(feature = "shuttle"))]
pub mod wire;
