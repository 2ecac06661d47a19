//! Several tasks in one message: a comma starts a new task.
//!
//! `\,` is a comma that belongs to its task; a backslash anywhere else is an
//! ordinary character, so that texts with backslashes stay as they are. White
//! space around a task goes, and so do tasks with nothing in them.

use super::{MAX_BYTES, Task};
use crate::error::Error;

/// The most tasks in one message.
pub const MAX_TASKS: usize = 1_000;

/// The largest message, in bytes: a task of [`MAX_BYTES`] fits in even if it is
/// all commas.
pub const MAX_MESSAGE_BYTES: usize = 2 * MAX_BYTES;

/// One task of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The message's own id if there is one task in it; else `ID.1`, `ID.2` and
    /// so on.
    pub id: String,
    /// At most [`MAX_BYTES`] of it.
    pub text: Vec<u8>,
    /// What is asked for, or why it cannot be told.
    pub task: Result<Task, Error>,
}

/// What the body of a message asks for: one part at least, always the same ones.
/// A body that cannot be split is one part that says why.
pub fn parts(id: &str, body: &[u8]) -> Vec<Part> {
    let texts = match read(body) {
        Ok(texts) => texts,
        Err(error) => {
            return vec![Part {
                id: id.into(),
                text: cut(body),
                task: Err(error),
            }];
        }
    };
    let ids = part_ids(id, texts.len());
    let part = |(id, text): (String, String)| Part {
        id,
        task: Task::parse(&text),
        text: cut(text.as_bytes()),
    };
    ids.zip(texts).map(part).collect()
}

/// The ids of so many tasks in one message.
pub fn part_ids(id: &str, count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(move |number| match count {
        1 => id.to_owned(),
        _ => format!("{id}.{number}"),
    })
}

/// The tasks in a text; none if there is nothing but commas and white space.
///
/// # Errors
/// `InvalidArgument` for more than [`MAX_TASKS`].
pub fn split(text: &str) -> Result<Vec<String>, Error> {
    let mut tasks = Vec::new();
    let mut end = |task: String| {
        let trimmed = task.trim();
        if !trimmed.is_empty() {
            tasks.push(trimmed.to_owned());
        }
        if tasks.len() > MAX_TASKS {
            let message = format!("tasks: at most {MAX_TASKS} fit in one message");
            return Err(Error::invalid(message));
        }
        Ok(())
    };
    let (mut task, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(',') {
        match before.strip_suffix('\\') {
            Some(before) => {
                task += before;
                task.push(',');
            }
            None => {
                task += before;
                end(std::mem::take(&mut task))?;
            }
        }
        rest = after;
    }
    end(task + rest)?;
    Ok(tasks)
}

/// The body of a message with this one task in it, whatever commas it has.
pub fn escape(task: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(task.len());
    for byte in task {
        if *byte == b',' {
            body.push(b'\\');
        }
        body.push(*byte);
    }
    body
}

fn read(body: &[u8]) -> Result<Vec<String>, Error> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(Error::invalid(format!(
            "the message has {} bytes; at most {MAX_MESSAGE_BYTES} are allowed",
            body.len()
        )));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Error::invalid(format!("the message is not UTF-8: {error}")))?;
    let texts = split(text)?;
    if texts.is_empty() {
        return Err(Error::invalid(
            "the message is empty: there is no task in it",
        ));
    }
    Ok(texts)
}

fn cut(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(MAX_BYTES)].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        split(text).unwrap()
    }

    #[test]
    fn a_comma_starts_a_task_and_an_escaped_one_does_not() {
        assert_eq!(
            texts(" user42, fact:6 ,,freq:abracadabra,"),
            ["user42", "fact:6", "freq:abracadabra"]
        );
        assert_eq!(texts(r"freq:a\,b, \, ,x"), ["freq:a,b", ",", "x"]);
        assert_eq!(texts(r"a\\,b\n\"), [r"a\,b\n\"], "one backslash goes");
        assert_eq!(texts(r"a\ , b"), [r"a\", "b"], "and white space parts them");
        assert_eq!(texts("\u{a0}один\u{2003},\n,два"), ["один", "два"]);
        for nothing in ["", " ", ",", " , ,\t"] {
            assert_eq!(texts(nothing), [""; 0]);
        }
    }

    #[test]
    fn one_task_keeps_the_id_and_several_are_numbered() {
        let ids = |body: &str| -> Vec<_> {
            let parts = parts("m", body.as_bytes());
            parts.into_iter().map(|part| part.id).collect()
        };
        assert_eq!(ids("a"), ["m"]);
        assert_eq!(ids(",a, "), ["m"]);
        assert_eq!(ids("a,,fact:x,a"), ["m.1", "m.2", "m.3"]);
    }

    #[test]
    fn what_cannot_be_split_is_one_part_that_says_why() {
        let many = "a,".repeat(MAX_TASKS);
        assert_eq!(parts("m", many.as_bytes()).len(), MAX_TASKS);
        let [long, many] = ["a".repeat(MAX_MESSAGE_BYTES + 1), many + "a"];
        for (body, named) in [
            (b"".as_slice(), "empty"),
            (b" ,\n", "empty"),
            (b"user1,\xff", "not UTF-8"),
            (long.as_bytes(), "65537 bytes"),
            (many.as_bytes(), "at most 1000"),
        ] {
            let [part] = parts("m", body).try_into().unwrap();
            assert_eq!(part.id, "m");
            assert_eq!(part.text, body[..body.len().min(MAX_BYTES)]);
            let error = part.task.unwrap_err();
            assert!(error.message.contains(named), "{error}");
        }
    }

    #[test]
    fn the_largest_task_fits_whatever_it_is() {
        let task = ",".repeat(MAX_BYTES);
        let [part] = parts("m", &escape(task.as_bytes())).try_into().unwrap();
        assert_eq!((part.text, part.task.is_ok()), (task.into_bytes(), true));
    }

    proptest! {
        /// White space before a comma, lest a backslash at a task's end escapes it.
        #[test]
        fn tasks_come_back_as_they_were(tasks in prop::collection::vec(r"[a, \\]{0,6}|\PC{0,9}", 0..20)) {
            let bodies = tasks.iter().map(|task| String::from_utf8(escape(task.as_bytes())).unwrap());
            let joined = bodies.collect::<Vec<_>>().join(" ,");
            let trimmed = tasks.iter().map(|task| task.trim().to_owned());
            let kept: Vec<_> = trimmed.filter(|task| !task.is_empty()).collect();
            prop_assert_eq!(texts(&joined), kept);
        }

        #[test]
        fn a_part_in_a_message_of_its_own_is_the_same(text in r"([a, \\]|\PC){0,60}") {
            let parts = parts("m", text.as_bytes());
            prop_assert_eq!(parts.len(), texts(&text).len().max(1));
            for part in parts.into_iter().filter(|part| part.text != text.as_bytes()) {
                let again = super::parts(&part.id, &escape(&part.text));
                prop_assert_eq!(again, [part]);
            }
        }

        #[test]
        fn any_bytes_have_a_part(body in prop::collection::vec(prop_oneof![Just(b','), any::<u8>()], 0..99)) {
            prop_assert!(!parts("m", &body).is_empty());
        }
    }
}
