//! The bridge's JSON, by the rules of ProtoJSON: absent or null is the default,
//! a wrong type or an unknown field is an error that names the field.
//! Source: <https://protobuf.dev/programming-guides/json/>

use serde_json::{Map, Value, json};

use crate::domain::chat::Message;
use crate::domain::clock::Timestamp;
use crate::domain::error::Error;

/// The body of `POST /sendMessage`: author and text.
///
/// # Errors
/// `InvalidArgument` that says what is wrong and where.
pub fn parse_send_request(body: &[u8]) -> Result<(String, String), Error> {
    let mut fields = object(body)?;
    let author = take_string(&mut fields, "author")?;
    let text = take_string(&mut fields, "text")?;
    unknown(&fields, "\"author\" and \"text\"")?;
    Ok((author, text))
}

/// The body of the console's `POST /api/tasks`: the title.
///
/// # Errors
/// As [`parse_send_request`].
pub fn parse_title(body: &[u8]) -> Result<String, Error> {
    let mut fields = object(body)?;
    let title = take_string(&mut fields, "title")?;
    unknown(&fields, "\"title\"")?;
    Ok(title)
}

/// The body of the console's `POST /api/tasks/complete`: the task's id.
///
/// # Errors
/// As [`parse_send_request`].
pub fn parse_id(body: &[u8]) -> Result<i32, Error> {
    let mut fields = object(body)?;
    let id = match fields.remove("id") {
        None | Some(Value::Null) => 0,
        Some(value) => value
            .as_i64()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| Error::invalid("\"id\" has to be a whole number of 32 bits"))?,
    };
    unknown(&fields, "\"id\"")?;
    Ok(id)
}

/// The most texts that a page sends at a time.
const TASKS: usize = 1000;

/// The body of the console's `POST /api/jobs/send`: texts with tasks in them, at
/// least one.
///
/// # Errors
/// As [`parse_send_request`].
pub fn parse_tasks(body: &[u8]) -> Result<Vec<String>, Error> {
    let mut fields = object(body)?;
    let wrong = || {
        let message = format!("\"tasks\" has to be an array of 1 to {TASKS} strings");
        Error::invalid(message)
    };
    let tasks = match fields.remove("tasks") {
        Some(Value::Array(tasks)) if (1..=TASKS).contains(&tasks.len()) => tasks,
        _ => return Err(wrong()),
    };
    unknown(&fields, "\"tasks\"")?;
    let text = |task| match task {
        Value::String(text) => Ok(text),
        _ => Err(wrong()),
    };
    tasks.into_iter().map(text).collect()
}

/// The fields of a body.
///
/// # Errors
/// `InvalidArgument` when it is no JSON object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
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
pub(super) fn unknown(fields: &Map<String, Value>, known: &str) -> Result<(), Error> {
    match fields.keys().next() {
        Some(unknown) => Err(Error::invalid(format!(
            "{unknown:?}: there is no such field, only {known}"
        ))),
        None => Ok(()),
    }
}

fn take_string(fields: &mut Map<String, Value>, name: &str) -> Result<String, Error> {
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
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub fn send_response(time: Timestamp) -> String {
    json!({ "sendTime": time.rfc3339() }).to_string()
}

/// One message as an object; `tail --json` prints these, a line each.
pub fn message(message: &Message) -> String {
    let mut out = String::with_capacity(message.author.len() + message.text.len() + 80);
    append_message(&mut out, message);
    out
}

/// The answer to a flush: an array in server order.
pub fn messages(messages: &[Message]) -> String {
    let size: usize = messages.iter().map(|m| m.author.len() + m.text.len()).sum();
    let mut out = String::with_capacity(2 + size + 80 * messages.len());
    out.push('[');
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        append_message(&mut out, message);
    }
    out.push(']');
    out
}

fn append_message(out: &mut String, message: &Message) {
    out.push_str("{\"author\":");
    append_string(out, &message.author);
    out.push_str(",\"text\":");
    append_string(out, &message.text);
    out.push_str(",\"sendTime\":\"");
    out.push_str(&message.send_time.rfc3339());
    out.push_str("\"}");
}

fn append_string(out: &mut String, value: &str) {
    out.push_str(&Value::from(value).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absent_and_null_are_empty() {
        for body in ["{}", r#"{"author":null}"#, r#" {"text":""} "#] {
            let parsed = parse_send_request(body.as_bytes());
            assert_eq!(parsed, Ok((String::new(), String::new())), "{body}");
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (body, named) in [
            (
                r#"{"author":5}"#,
                "\"author\" has to be a string, not a number",
            ),
            (
                r#"{"text":["a"]}"#,
                "\"text\" has to be a string, not an array",
            ),
            (r#"{"Text":"a"}"#, "\"Text\": there is no such field"),
            ("[]", "an object, not an array"),
            ("", "not JSON"),
            (r#"{"text":"\ud800"}"#, "not JSON"),
        ] {
            let message = parse_send_request(body.as_bytes()).unwrap_err().message;
            assert!(message.contains(named), "{body}: {message}");
        }
        for (body, named) in [
            (r#"{"id":1.5}"#, "\"id\" has to be a whole number"),
            (r#"{"id":"1"}"#, "\"id\" has to be a whole number"),
            (r#"{"id":2147483648}"#, "\"id\" has to be a whole number"),
            (r#"{"task":1}"#, "\"task\": there is no such field"),
        ] {
            let message = parse_id(body.as_bytes()).unwrap_err().message;
            assert!(message.contains(named), "{body}: {message}");
        }
        let message = parse_send_request(b"{\"text\":\"\xff\"}")
            .unwrap_err()
            .message;
        assert!(message.contains("UTF-8"), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_survives(author in ".*", text in ".*", nanos in 0i64..i64::MAX) {
            let sent = Message { author, text, send_time: Timestamp::from_nanos(nanos) };
            let array: Value = serde_json::from_str(&messages(&[sent.clone(), sent.clone()])).unwrap();
            prop_assert_eq!(array.as_array().unwrap().len(), 2);
            prop_assert_eq!(array[1]["author"].as_str(), Some(&*sent.author));
            prop_assert_eq!(array[1]["text"].as_str(), Some(&*sent.text));
            prop_assert_eq!(array[1]["sendTime"].as_str(), Some(&*sent.send_time.rfc3339()));
            let body = json!({ "author": sent.author, "text": sent.text }).to_string();
            prop_assert_eq!(parse_send_request(body.as_bytes()), Ok((sent.author, sent.text)));
        }
    }
}
