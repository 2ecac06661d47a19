//! The log's JSON. What a request lacks or has too much of is an error that
//! names the field.

use serde_json::{Map, Value, json};

use super::json::{kind, object, unknown};
use crate::domain::error::Error;
use crate::domain::history::{Draft, From, Message, Page, Sender};

/// The body of `POST /`.
///
/// # Errors
/// `InvalidArgument` that says what is wrong and where.
pub fn parse_draft(body: &[u8]) -> Result<Draft, Error> {
    let mut fields = object(body)?;
    let sender = take_string(&mut fields, "sender")?;
    let text = take_string(&mut fields, "text")?;
    unknown(&fields, "\"sender\" and \"text\"")?;
    Ok(Draft { sender, text })
}

fn take_string(fields: &mut Map<String, Value>, name: &str) -> Result<String, Error> {
    match fields.remove(name) {
        Some(Value::String(value)) => Ok(value),
        None => Err(Error::invalid(format!("{name:?} is missing"))),
        Some(other) => Err(Error::invalid(format!(
            "{name:?} has to be a string, not {}",
            kind(&other)
        ))),
    }
}

/// The query of `GET /messages`: `limit`, and `before` or `after`.
///
/// # Errors
/// `InvalidArgument` that names the parameter.
pub fn parse_page(query: &str) -> Result<Page, Error> {
    let mut page = Page::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "limit" => page.limit = number(name, value, 1, Page::MOST)?,
            "before" | "after" if page.from != From::End => {
                let message = format!("{name}: only one of \"before\" and \"after\" may be given");
                return Err(Error::invalid(message));
            }
            "before" => page.from = From::Before(number(name, value, 0, i64::MAX)?),
            "after" => page.from = From::After(number(name, value, 0, i64::MAX)?),
            _ => {
                return Err(Error::invalid(format!(
                    "{name:?}: there is no such parameter, only \"limit\", \"before\" and \"after\""
                )));
            }
        }
    }
    Ok(page)
}

fn number(name: &str, value: &str, least: i64, most: i64) -> Result<i64, Error> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Error::invalid(format!("{name}: has to be a number from {least} to {most}")))
}

/// One message as an object.
pub fn message(message: &Message) -> String {
    let (sender, text) = (
        Value::from(&*message.sender).to_string(),
        Value::from(&*message.text).to_string(),
    );
    format!(
        r#"{{"sender":{sender},"text":{text},"sentAt":"{}","number":{},"senderCount":{}}}"#,
        message.sent_at.rfc3339(),
        message.number,
        message.sender_count
    )
}

/// An array of what [`message`] has made.
pub fn array<'a>(messages: impl Iterator<Item = &'a str> + Clone) -> String {
    let size: usize = messages.clone().map(|message| message.len() + 1).sum();
    let mut out = String::with_capacity(2 + size);
    out.push('[');
    for (index, message) in messages.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(message);
    }
    out.push(']');
    out
}

/// The answer to `GET /senders`.
pub fn senders(senders: &[Sender]) -> String {
    let sender = |s: &Sender| json!({ "sender": s.sender, "count": s.count });
    Value::from_iter(senders.iter().map(sender)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn a_draft_needs_both_fields_and_nothing_else() {
        for (body, named) in [
            (r#"{"text":"a"}"#, "\"sender\" is missing"),
            (r#"{"sender":"a"}"#, "\"text\" is missing"),
            (r#"{"sender":null,"text":""}"#, "\"sender\" has to be"),
            (r#"{"sender":"a","text":5}"#, "a string, not a number"),
            (r#"{"sender":"a","text":"","to":""}"#, "\"to\": there is no"),
            ("[]", "an object, not an array"),
            ("{", "not JSON"),
        ] {
            let message = parse_draft(body.as_bytes()).unwrap_err().message;
            assert!(message.contains(named), "{body}: {message}");
        }
        let draft = parse_draft(br#" {"text":"","sender":""} "#).unwrap();
        assert_eq!((&*draft.sender, &*draft.text), ("", ""));
    }

    #[test]
    fn a_page_is_asked_for_in_the_query() {
        let page = |from, limit| Page { from, limit };
        assert_eq!(parse_page(""), Ok(page(From::End, 100)));
        assert_eq!(parse_page("limit=1"), Ok(page(From::End, 1)));
        assert_eq!(
            parse_page("before=7&limit=1000"),
            Ok(page(From::Before(7), 1000))
        );
        assert_eq!(parse_page("after=0"), Ok(page(From::After(0), 100)));
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=+1",
            "limit=1e2",
            "before=-1",
            "before=9223372036854775808",
            "before=1&after=2",
            "after=1&after=2",
            "from=1",
        ] {
            let message = parse_page(wrong).unwrap_err().message;
            let name = wrong.rsplit('&').next().unwrap().split('=').next().unwrap();
            assert!(message.contains(name), "{wrong}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(sender in ".*", text in ".*", nanos in 0i64..i64::MAX) {
            let sent_at = Timestamp::from_nanos(nanos);
            let sent = Message { sender, text, sent_at, number: 7, sender_count: 2 };
            let one = message(&sent);
            let array: Value = serde_json::from_str(&array([&*one, &*one].into_iter())).unwrap();
            prop_assert_eq!(array.as_array().unwrap().len(), 2);
            prop_assert_eq!(&array[1], &json!({
                "sender": sent.sender, "text": sent.text, "sentAt": sent_at.rfc3339(),
                "number": 7, "senderCount": 2,
            }));
            let body = json!({ "sender": sent.sender, "text": sent.text }).to_string();
            let draft = parse_draft(body.as_bytes()).unwrap();
            prop_assert_eq!((draft.sender, draft.text), (sent.sender, sent.text));
        }
    }
}
