//! The messages of `proto/*.proto`, one module a file, made by `build.rs`. Only
//! the `wire.rs` files use them.

#![allow(clippy::semicolon_if_nothing_returned)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
