//! The log's JSON and query parameters. Missing and unknown fields are errors that
//! name the field.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::entry::{Draft, From, Message, Page, Sender};
use crate::error::{Code, Error};
use crate::fanout::clock::Timestamp;
use crate::json::{kind, object, unknown};
use crate::key;

/// The body of `POST /`, and the value of [`key::IDEMPOTENCY_KEY`].
///
/// # Errors
/// `InvalidArgument` that says what is wrong and where.
pub fn parse_draft(body: &[u8], key: Option<&str>) -> Result<Draft, Error> {
    let key = key.map(key::checked).transpose()?;
    let mut fields = object(body)?;
    let sender = take_string(&mut fields, "sender")?;
    let text = take_string(&mut fields, "text")?;
    unknown(&fields, "\"sender\" and \"text\"")?;
    let key = key.map(str::to_owned);
    Ok(Draft { sender, text, key })
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
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => page.limit = number(&name, &value, 1, Page::MOST)?,
            "before" | "after" if page.from != From::End => {
                let message = format!("{name}: only one of \"before\" and \"after\" may be given");
                return Err(Error::invalid(message));
            }
            "before" => page.from = From::Before(number(&name, &value, 0, i64::MAX)?),
            "after" => page.from = From::After(number(&name, &value, 0, i64::MAX)?),
            _ => {
                return Err(Error::invalid(format!(
                    "{name:?}: there is no such parameter, only \"limit\", \"before\" and \"after\""
                )));
            }
        }
    }
    Ok(page)
}

/// The query that [`parse_page`] takes.
pub fn page_query(page: Page) -> String {
    let limit = page.limit;
    match page.from {
        From::End => format!("limit={limit}"),
        From::Before(number) => format!("limit={limit}&before={number}"),
        From::After(number) => format!("limit={limit}&after={number}"),
    }
}

/// Where a client of `GET /events` stands: its `Last-Event-ID`, else `after` in
/// the query. `None` is at the end of the log.
///
/// # Errors
/// `InvalidArgument` that names the parameter or the header.
pub fn parse_events(query: &str, last_event_id: Option<&str>) -> Result<Option<i64>, Error> {
    let mut after = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "after" => after = Some(number("after", &value, 0, i64::MAX)?),
            _ => {
                return Err(Error::invalid(format!(
                    "{name:?}: there is no such parameter, only \"after\""
                )));
            }
        }
    }
    let last = last_event_id.map(|id| number("Last-Event-ID", id, 0, i64::MAX));
    Ok(last.transpose()?.or(after))
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
        Timestamp::from_nanos(message.sent_at).rfc3339(),
        message.number,
        message.sender_count
    )
}

/// One message as a server-sent event whose id is the number; `json` is what
/// [`message`] has made, which has no line end that would end the field.
/// Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>
pub fn event(number: i64, json: &str) -> String {
    format!("id: {number}\ndata: {json}\n\n")
}

/// The event for a follower that is ahead of the log, which goes on after `newest`.
pub fn gap(newest: i64) -> String {
    format!("id: {newest}\nevent: gap\ndata: {{\"newest\":{newest}}}\n\n")
}

/// The event for a follower before a message whose predecessors are not there any more.
pub fn gone(from: i64, to: i64) -> String {
    format!("id: {to}\nevent: gone\ndata: {{\"from\":{from},\"to\":{to}}}\n\n")
}

/// An array of what [`message`] has made.
pub fn array<'a>(messages: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", messages.collect::<Vec<_>>().join(","))
}

/// The answer to `GET /senders`.
pub fn senders(senders: &[Sender]) -> String {
    let sender = |s: &Sender| json!({ "sender": s.sender, "count": s.count });
    Value::from_iter(senders.iter().map(sender)).to_string()
}

/// A message as a replica sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    sender: String,
    text: String,
    sent_at: String,
    number: i64,
    sender_count: i64,
}

#[derive(Deserialize)]
struct ToldSender {
    sender: String,
    count: i64,
}

/// Parses what [`message`] has made.
///
/// # Errors
/// `Internal` when it is malformed.
pub fn parse_message(json: &str) -> Result<Message, Error> {
    told(json).and_then(from_told)
}

/// Parses what [`array()`] has made.
///
/// # Errors
/// `Internal` when it is malformed.
pub fn parse_messages(json: &str) -> Result<Vec<Message>, Error> {
    let messages: Vec<Told> = told(json)?;
    messages.into_iter().map(from_told).collect()
}

/// Parses what [`senders`] has made.
///
/// # Errors
/// `Internal` when it is malformed.
pub fn parse_senders(json: &str) -> Result<Vec<Sender>, Error> {
    let senders: Vec<ToldSender> = told(json)?;
    let sender = |ToldSender { sender, count }| Sender { sender, count };
    Ok(senders.into_iter().map(sender).collect())
}

fn told<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| strange(&error.to_string()))
}

fn from_told(told: Told) -> Result<Message, Error> {
    let sent_at = Timestamp::parse(&told.sent_at).ok_or_else(|| strange("invalid sentAt"))?;
    Ok(Message {
        sent_at: sent_at.nanos(),
        sender: told.sender,
        text: told.text,
        number: told.number,
        sender_count: told.sender_count,
    })
}

fn strange(reason: &str) -> Error {
    Error::new(
        Code::Internal,
        format!("not an answer of a message log: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let message = parse_draft(body.as_bytes(), None).unwrap_err().message;
            assert!(message.contains(named), "{body}: {message}");
        }
        let draft = parse_draft(br#" {"text":"","sender":""} "#, None).unwrap();
        assert_eq!((&*draft.sender, &*draft.text), ("", ""));
    }

    #[test]
    fn a_page_is_asked_for_in_the_query() {
        let page = |from, limit| Page {
            from,
            limit,
            ..Page::default()
        };
        assert_eq!(parse_page(""), Ok(page(From::End, 100)));
        assert_eq!(parse_page("limit=1"), Ok(page(From::End, 1)));
        assert_eq!(
            parse_page("before=7&limit=1000"),
            Ok(page(From::Before(7), 1000))
        );
        assert_eq!(parse_page("after=0"), Ok(page(From::After(0), 100)));
        for from in [From::End, From::Before(3), From::After(4)] {
            let page = page(from, 5);
            assert_eq!(parse_page(&page_query(page)), Ok(page));
        }
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

    #[test]
    fn a_follower_says_where_it_stands_and_its_header_wins() {
        assert_eq!(parse_events("", None), Ok(None));
        assert_eq!(parse_events("after=7", None), Ok(Some(7)));
        assert_eq!(parse_events("after=7", Some("9")), Ok(Some(9)));
        for (query, id, named) in [
            ("after=x", None, "after"),
            ("after=1", Some("x"), "Last-Event-ID"),
            ("from=1", None, "\"from\""),
        ] {
            let message = parse_events(query, id).unwrap_err().message;
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn what_is_not_from_a_log_is_refused() {
        for json in [
            "",
            "{}",
            "[]",
            r#"{"sender":"a","text":"b","sentAt":"today","number":1,"senderCount":1}"#,
        ] {
            assert_eq!(parse_message(json).unwrap_err().code, Code::Internal);
        }
        let sender = |sender: &str, count| Sender {
            sender: sender.into(),
            count,
        };
        let both = [sender("a", 2), sender("b", 1)];
        assert_eq!(parse_senders(&senders(&both)), Ok(both.to_vec()));
    }

    proptest! {
        #[test]
        fn any_text_survives(sender in ".*", text in ".*", nanos in 0i64..i64::MAX) {
            let sent = Message { sender, text, sent_at: nanos, number: 7, sender_count: 2 };
            let one = message(&sent);
            let array: Value = serde_json::from_str(&array([&*one, &*one].into_iter())).unwrap();
            prop_assert_eq!(array.as_array().unwrap().len(), 2);
            prop_assert_eq!(&array[1], &json!({
                "sender": sent.sender, "text": sent.text, "sentAt": Timestamp::from_nanos(nanos).rfc3339(),
                "number": 7, "senderCount": 2,
            }));
            prop_assert_eq!(parse_message(&one), Ok(sent.clone()));
            let both = self::array([&*one, &*one].into_iter());
            prop_assert_eq!(parse_messages(&both), Ok(vec![sent.clone(), sent.clone()]));
            prop_assert_eq!(event(7, &one).lines().count(), 3);
            let body = json!({ "sender": sent.sender, "text": sent.text }).to_string();
            let draft = parse_draft(body.as_bytes(), None).unwrap();
            prop_assert_eq!((draft.sender, draft.text), (sent.sender, sent.text));
        }
    }
}
