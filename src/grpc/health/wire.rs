//! The standard health service, `grpc.health.v1.Health`.
//! Source: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use grpcio::Method;
use protobuf::Message as _;

use crate::generated::health::health_check_response::ServingStatus;
use crate::grpc::method::{self, Encoded};

pub use crate::generated::health::health_check_response::ServingStatus as Status;
pub use crate::generated::health::{HealthCheckRequest, HealthCheckResponse};

pub const CHECK: Method<HealthCheckRequest, HealthCheckResponse> =
    method::unary("/grpc.health.v1.Health/Check");
pub const WATCH_ENCODED: Method<HealthCheckRequest, Encoded> =
    method::encoded_stream("/grpc.health.v1.Health/Watch");

pub fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
        ..Default::default()
    }
}

pub fn encode(status: ServingStatus) -> Encoded {
    let bytes = response(status).write_to_bytes();
    Encoded::new(bytes.expect("a message without required fields always encodes"))
}
