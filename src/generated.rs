//! The messages of `proto/*.proto`, one module a file, made by `build.rs`. Only
//! the `wire` files of the rooms use them.

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
