//! Generates the service's trait and its dispatch. By hand rather than from the
//! .proto file, because then each method may have a codec of its own.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let send = Method::builder()
        .name("send_message")
        .route_name("SendMessage")
        .input_type("crate::SendMessageRequest")
        .output_type("crate::SendMessageResponse")
        .codec_path("tonic_prost::ProstCodec");
    let read = Method::builder()
        .name("read_messages")
        .route_name("ReadMessages")
        .input_type("crate::Empty")
        .output_type("prost::bytes::Bytes")
        .codec_path("crate::EncodedCodec")
        .server_streaming();
    let service = Service::builder()
        .name("MessengerServer")
        .package("mes_grpc")
        .method(send.build())
        .method(read.build());
    Builder::new()
        .build_client(false)
        .compile(&[service.build()]);
}
