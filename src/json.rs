//! Bodies in JSON, by the rules of ProtoJSON: absent or null is the default, a wrong
//! type or an unknown field is an error that names the field.
//! Source: <https://protobuf.dev/programming-guides/json/>

use serde_json::{Map, Value};

use crate::error::Error;

/// The fields of a body.
///
/// # Errors
/// `InvalidArgument` when it is no JSON object.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    let body = std::str::from_utf8(body)
        .map_err(|e| Error::invalid(format!("the body is not UTF-8: {e}")))?;
    let value: Value = serde_json::from_str(body)
        .map_err(|e| Error::invalid(format!("the body is not JSON: {e}")))?;
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(Error::invalid(format!(
            "the body has to be an object, not {}",
            kind(&other)
        ))),
    }
}

/// To be called when the `known` fields have been taken out.
///
/// # Errors
/// `InvalidArgument` that names a field that is left.
pub fn unknown(fields: &Map<String, Value>, known: &str) -> Result<(), Error> {
    match fields.keys().next() {
        Some(unknown) => Err(Error::invalid(format!(
            "{unknown:?}: there is no such field, only {known}"
        ))),
        None => Ok(()),
    }
}

/// A field of text; absent or null is empty.
///
/// # Errors
/// `InvalidArgument` that names the field when it is no string.
pub fn take_string(fields: &mut Map<String, Value>, name: &str) -> Result<String, Error> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(value)) => Ok(value),
        Some(other) => Err(Error::invalid(format!(
            "{name:?} has to be a string, not {}",
            kind(&other)
        ))),
    }
}

/// What a value is, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
