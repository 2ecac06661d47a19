//! The stock ticker: one market, published over bidirectional streams.

pub mod client;
pub mod market;
pub mod server;
mod watchlist;
pub mod wire;
