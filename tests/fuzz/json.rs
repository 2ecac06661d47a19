//! Bodies in JSON: of the bridge, the console and the log.

use messenger::error::Code;
use messenger::history::wire as history;
use messenger::jobs::wire::parse_tasks;
use messenger::todo::wire::{parse_id, parse_title};
use messenger::{chat, error};
use serde_json::{Value, json};

use super::driver::{Target, one_by_one, plain};

pub const TARGET: Target = Target {
    name: "json-bodies",
    start: || one_by_one(judge),
    words: "{|}|[|]|:|,|null|true|1|-1|1e3|1.5|2147483648|\"\"|\"author\":|\"text\":|\"title\":\
         |\"id\":|\"tasks\":|\"sender\":|\"a\"|\\u0000|\\ud83e\\udd80|\\ud800|\\\"|\u{feff}\
         |[[[[[[[[[[[[[[[[|é",
    longest: 2000,
    together: 1,
};

fn judge(input: &[u8]) -> String {
    let fields = serde_json::from_slice::<Value>(input).ok();
    let fields = fields.as_ref().and_then(Value::as_object);
    // ProtoJSON: only these fields, and each of its type or null.
    let valid = |names: &[&str], is: fn(&Value) -> bool| {
        let known = |(name, value): (&String, &Value)| names.contains(&&**name) && is(value);
        fields.is_some_and(|fields| fields.iter().all(known))
    };
    let text = |value: &Value| value.is_string() || value.is_null();

    let message = chat::json::parse_send_request(input);
    assert_eq!(message.is_ok(), valid(&["author", "text"], text));
    let again = |(author, text): &(_, _)| json!({ "author": author, "text": text });
    let message = same(message, again, chat::json::parse_send_request);

    let title = parse_title(input);
    assert_eq!(title.is_ok(), valid(&["title"], text));
    let title = same(title, |title| json!({ "title": title }), parse_title);

    let id = same(parse_id(input), |id| json!({ "id": id }), parse_id);

    let draft = history::parse_draft(input, None);
    let whole = fields.is_some_and(|fields| fields.len() == 2);
    assert_eq!(
        draft.is_ok(),
        whole && valid(&["sender", "text"], Value::is_string)
    );
    let again =
        |it: &messenger::history::entry::Draft| json!({ "sender": it.sender, "text": it.text });
    let draft = same(draft, again, |again| history::parse_draft(again, None));

    let tasks = parse_tasks(input);
    assert!(
        tasks
            .as_ref()
            .is_ok_and(|tasks| (1..=1000).contains(&tasks.len()))
            || tasks.is_err()
    );
    let tasks = same(tasks, |tasks| json!({ "tasks": tasks }), parse_tasks);
    format!("{message}; {title}; {id}; {draft}; {tasks}")
}

/// What was accepted is the same after it was written and parsed again; what was not
/// has an error that says where.
fn same<T: PartialEq + std::fmt::Debug>(
    parsed: Result<T, error::Error>,
    write: impl Fn(&T) -> Value,
    parse: impl Fn(&[u8]) -> Result<T, error::Error>,
) -> String {
    match parsed {
        Ok(value) => {
            let again = parse(write(&value).to_string().as_bytes());
            assert_eq!(again.as_ref(), Ok(&value));
            "yes".into()
        }
        Err(error) => {
            assert_eq!(error.code, Code::InvalidArgument);
            let says_where = ["the body ", "\""]
                .iter()
                .any(|it| error.message.starts_with(it));
            assert!(says_where, "{error}");
            plain(&error.message)
        }
    }
}
