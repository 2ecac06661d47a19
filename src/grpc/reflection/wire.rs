//! The reflection protocol. The messages of v1 and v1alpha are the same on the wire.
//! Source: <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

use grpcio::Method;

use crate::error::Error;
use crate::grpc::method::{self, Encoded};

pub use crate::generated::files;
pub use crate::generated::reflection::server_reflection_request::Message_request as Asked;
pub use crate::generated::reflection::server_reflection_response::Message_response as Answer;
pub use crate::generated::reflection::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest as Request, ServerReflectionResponse as Response, ServiceResponse,
};

pub const INFO_ENCODED: Method<Request, Encoded> =
    method::encoded_duplex("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
pub const INFO_V1ALPHA_ENCODED: Method<Request, Encoded> =
    method::encoded_duplex("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");

pub fn response(request: Request, answer: Answer) -> Result<Encoded, Error> {
    Encoded::message(&Response {
        valid_host: request.host.clone(),
        original_request: Some(request).into(),
        message_response: Some(answer),
        ..Default::default()
    })
}
