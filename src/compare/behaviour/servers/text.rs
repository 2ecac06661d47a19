//! What an author and a text may be.

use crate::compare::behaviour::case::{Case, words};
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::trouble::Seen;
use crate::status;

const ARRIVES: &str = "arrives as it was sent";
const REFUSED: &str = "INVALID_ARGUMENT, naming the limit";

pub const CHECKS: &[Check] = &[
    Check::new(
        "text-languages",
        "Author and text in any script, with characters of two to four bytes.",
        ARRIVES,
        |case| carried(case, "анна", "Привет, 世界 \u{1f980} e\u{301}"),
    ),
    Check::new(
        "text-controls",
        "A text with quotes, line ends, control characters and a null character.",
        ARRIVES,
        |case| carried(case, "\"\\", "\0\r\n\t/\u{7f}\u{2028} "),
    ),
    Check::new("text-empty", "No author and no text.", ARRIVES, |case| {
        carried(case, "", "")
    }),
    Check::new("text-64k", "A text of 64 KiB.", ARRIVES, |case| {
        carried(case, "a", &"x".repeat(64 << 10))
    }),
    Check::new(
        "text-256k",
        "The longest author and text, 256 B and 256 KiB.",
        ARRIVES,
        |case| carried(case, &"a".repeat(256), &"x".repeat(256 << 10)),
    ),
    Check::new("text-too-long", "A text of 300 KiB.", REFUSED, |case| {
        refused(case, "a", &"x".repeat(300 << 10), "262144")
    }),
    Check::new("author-too-long", "An author of 257 B.", REFUSED, |case| {
        refused(case, &"a".repeat(257), "b", "256")
    }),
];

fn carried(case: &Case, author: &str, text: &str) -> Seen {
    let mut readers = case.readers(1)?;
    let chat = case.chat()?;
    chat.send(author, text)?;
    let got = chat.read_up(&mut readers)?.concat();
    let got = words(&got);
    Ok(if got == [(author, text)] {
        ARRIVES
    } else if got.is_empty() {
        "never arrives"
    } else {
        "arrives otherwise"
    }
    .into())
}

fn refused(case: &Case, author: &str, text: &str, limit: &str) -> Seen {
    let mut readers = case.readers(1)?;
    let chat = case.chat()?;
    let sent = chat.send(author, text);
    let got = chat.read_up(&mut readers)?.concat();
    let names = |message: &str| message.contains(limit);
    Ok(match sent {
        Ok(_) => "accepted".into(),
        Err(_) if !got.is_empty() => "refused, and on the stream".into(),
        Err(error) if names(&error.message) => {
            format!("{}, naming the limit", status::name(error.code))
        }
        Err(error) => status::name(error.code).into(),
    })
}
