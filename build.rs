//! Turns `proto/*.proto` into Rust messages with the pure-Rust compiler, so that
//! a build needs no protoc. Method descriptions are written by hand in `src/grpc/method.rs` and the `wire` files.

fn main() {
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .inputs([
            "proto/messenger.proto",
            "proto/health.proto",
            "proto/reflection.proto",
            "proto/reflection_v1alpha.proto",
            "proto/subscribe.proto",
            "proto/todo.proto",
            "proto/fin.proto",
            "proto/message_service.proto",
        ])
        .cargo_out_dir("proto")
        .run_from_script();
    println!("cargo:rerun-if-changed=proto");
}
