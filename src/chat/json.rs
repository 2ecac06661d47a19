//! The bridge's JSON, by the rules of ProtoJSON: absent or null is the default,
//! a wrong type or an unknown field is an error that names the field.
//! Source: <https://protobuf.dev/programming-guides/json/>

use serde_json::{Value, json};

use super::message::Message;
use crate::error::Error;
use crate::fanout::clock::Timestamp;
use crate::json::{object, take_string, unknown};

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

pub fn send_response(time: Timestamp) -> String {
    json!({ "sendTime": time.rfc3339() }).to_string()
}

/// One message as an object; `tail --json` prints these, a line each.
pub fn message(message: &Message) -> String {
    let quoted = |value: &str| Value::from(value).to_string();
    format!(
        r#"{{"author":{},"text":{},"sendTime":"{}"}}"#,
        quoted(&message.author),
        quoted(&message.text),
        message.send_time.rfc3339()
    )
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
        let message = parse_send_request(b"{\"text\":\"\xff\"}")
            .unwrap_err()
            .message;
        assert!(message.contains("UTF-8"), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_survives(author in ".*", text in ".*", nanos in 0i64..i64::MAX) {
            let sent = Message { author, text, send_time: Timestamp::from_nanos(nanos) };
            let told: Value = serde_json::from_str(&message(&sent)).unwrap();
            prop_assert_eq!(told["author"].as_str(), Some(&*sent.author));
            prop_assert_eq!(told["text"].as_str(), Some(&*sent.text));
            prop_assert_eq!(told["sendTime"].as_str(), Some(&*sent.send_time.rfc3339()));
            let body = json!({ "author": sent.author, "text": sent.text }).to_string();
            prop_assert_eq!(parse_send_request(body.as_bytes()), Ok((sent.author, sent.text)));
        }
    }
}
