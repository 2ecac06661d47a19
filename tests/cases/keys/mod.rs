//! Idempotency keys of the chat: what is sent again is delivered once.

mod bridge;
mod lost;
mod server;

use crate::support::http::{Answer, request};
use serde_json::json;

/// Sends through a bridge with this key.
fn post(port: u16, key: &str, author: &str, text: &str) -> Answer {
    let body = json!({"author": author, "text": text}).to_string();
    let headers = [("Idempotency-Key", key)];
    request("POST", port, "/sendMessage", &headers, &body)
}
