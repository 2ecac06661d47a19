//! The stock ticker: one market, told over streams in both directions.

pub mod client;
pub mod market;
pub mod server;
mod watchlist;
pub mod wire;
