//! The messages of `proto/*.proto`, one module a file, made by `build.rs`. Only
//! the `wire.rs` files use them.

#![allow(clippy::semicolon_if_nothing_returned)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));

/// Their files, for reflection.
pub fn files() -> [&'static protobuf::reflect::FileDescriptor; 8] {
    [
        fin::file_descriptor(),
        health::file_descriptor(),
        message_service::file_descriptor(),
        messenger::file_descriptor(),
        reflection::file_descriptor(),
        reflection_v1alpha::file_descriptor(),
        subscribe::file_descriptor(),
        todo::file_descriptor(),
    ]
}
