//! The two status tables: our error codes in gRPC and in HTTP.
//! Source: <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>

use std::time::Duration;

use grpcio::{RpcStatus, RpcStatusCode};
use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::duration::Duration as WellKnownDuration;
use protobuf::{CodedOutputStream, Message as _};

use crate::error::{Code, Detail, Error};

/// Code, gRPC status, HTTP status, name in JSON.
const TABLE: [(Code, RpcStatusCode, u16, &str); 16] = [
    (Code::Cancelled, RpcStatusCode::CANCELLED, 499, "CANCELLED"),
    (Code::Unknown, RpcStatusCode::UNKNOWN, 500, "UNKNOWN"),
    (
        Code::InvalidArgument,
        RpcStatusCode::INVALID_ARGUMENT,
        400,
        "INVALID_ARGUMENT",
    ),
    (
        Code::DeadlineExceeded,
        RpcStatusCode::DEADLINE_EXCEEDED,
        504,
        "DEADLINE_EXCEEDED",
    ),
    (Code::NotFound, RpcStatusCode::NOT_FOUND, 404, "NOT_FOUND"),
    (
        Code::AlreadyExists,
        RpcStatusCode::ALREADY_EXISTS,
        409,
        "ALREADY_EXISTS",
    ),
    (
        Code::PermissionDenied,
        RpcStatusCode::PERMISSION_DENIED,
        403,
        "PERMISSION_DENIED",
    ),
    (
        Code::ResourceExhausted,
        RpcStatusCode::RESOURCE_EXHAUSTED,
        429,
        "RESOURCE_EXHAUSTED",
    ),
    (
        Code::FailedPrecondition,
        RpcStatusCode::FAILED_PRECONDITION,
        400,
        "FAILED_PRECONDITION",
    ),
    (Code::Aborted, RpcStatusCode::ABORTED, 409, "ABORTED"),
    (
        Code::OutOfRange,
        RpcStatusCode::OUT_OF_RANGE,
        400,
        "OUT_OF_RANGE",
    ),
    (
        Code::Unimplemented,
        RpcStatusCode::UNIMPLEMENTED,
        501,
        "UNIMPLEMENTED",
    ),
    (Code::Internal, RpcStatusCode::INTERNAL, 500, "INTERNAL"),
    (
        Code::Unavailable,
        RpcStatusCode::UNAVAILABLE,
        503,
        "UNAVAILABLE",
    ),
    (Code::DataLoss, RpcStatusCode::DATA_LOSS, 500, "DATA_LOSS"),
    (
        Code::Unauthenticated,
        RpcStatusCode::UNAUTHENTICATED,
        401,
        "UNAUTHENTICATED",
    ),
];

fn row(code: Code) -> (Code, RpcStatusCode, u16, &'static str) {
    // Every code has a row (tested below).
    *TABLE.iter().find(|row| row.0 == code).unwrap_or(&TABLE[1])
}

pub fn to_grpc(error: &Error) -> RpcStatus {
    let (code, message) = (row(error.code).1, error.message.clone());
    let details = details(error, code.into()).unwrap_or_default();
    RpcStatus::with_details(code, message, details)
}

/// A `google.rpc.Status` with what goes with the error, as the metadata
/// `grpc-status-details-bin` carries it; empty if nothing does.
/// Source: <https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto>,
/// error_details.proto beside it
fn details(error: &Error, code: i32) -> protobuf::Result<Vec<u8>> {
    let mut details = Vec::from_iter(error.detail.clone());
    if let Some(after) = error.retry_after {
        details.push(retry_info(after)?);
    }
    if details.is_empty() {
        return Ok(Vec::new());
    }
    encode(|out| {
        out.write_int32(1, code)?;
        out.write_string(2, &error.message)?;
        for Detail { name, bytes } in details {
            let mut packed = Any::new();
            packed.type_url = format!("type.googleapis.com/{name}");
            packed.value = bytes;
            out.write_bytes(3, &packed.write_to_bytes()?)?;
        }
        Ok(())
    })
}

fn retry_info(after: Duration) -> protobuf::Result<Detail> {
    let mut delay = WellKnownDuration::new();
    delay.seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    delay.nanos = after.subsec_nanos().cast_signed();
    // A message within one is written as bytes are.
    let bytes = encode(|out| out.write_bytes(1, &delay.write_to_bytes()?))?;
    let name = "google.rpc.RetryInfo";
    Ok(Detail { name, bytes })
}

fn encode(
    fields: impl FnOnce(&mut CodedOutputStream<'_>) -> protobuf::Result<()>,
) -> protobuf::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut out = CodedOutputStream::vec(&mut bytes);
    fields(&mut out)?;
    out.flush()?;
    drop(out);
    Ok(bytes)
}

/// Codes that we do not use become UNKNOWN.
pub fn from_grpc(status: &RpcStatus) -> Error {
    let row = TABLE.iter().find(|row| row.1 == status.code());
    Error::new(row.map_or(Code::Unknown, |row| row.0), status.message())
}

pub fn http(code: Code) -> u16 {
    row(code).2
}

pub fn name(code: Code) -> &'static str {
    row(code).3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_goes_to_grpc_and_back() {
        for (code, grpc, _, name) in TABLE {
            let error = Error::new(code, "why");
            assert_eq!(to_grpc(&error).code(), grpc);
            assert_eq!(from_grpc(&to_grpc(&error)), error);
            assert_eq!(super::name(code), name);
        }
        let unheard_of = RpcStatus::with_message(77, "?".into());
        assert_eq!(from_grpc(&unheard_of), Error::new(Code::Unknown, "?"));
    }

    #[test]
    fn http_statuses_are_those_of_the_table_in_the_protocol() {
        assert_eq!(http(Code::InvalidArgument), 400);
        assert_eq!(http(Code::ResourceExhausted), 429);
        assert_eq!(http(Code::Cancelled), 499);
        assert_eq!(http(Code::Unavailable), 503);
        assert_eq!(http(Code::DeadlineExceeded), 504);
    }
}
