//! The log's queries, and where a follower of it stands.

use messenger::history::entry::{From, Page};
use messenger::history::wire::{page_query, parse_events, parse_page};

use super::driver::{Target, one_by_one, plain};

/// A query, and in a second line the header Last-Event-ID.
pub const TARGET: Target = Target {
    name: "history-query",
    start: || one_by_one(judge),
    words: "limit=|before=|after=|&|\n|limit=1000|limit=1001|%3d|%26|+|-1|9223372036854775807\
         |9223372036854775808|%31|%00|from=|%ff|٣",
    longest: 500,
    together: 1,
};

fn judge(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let (query, last) = match text.split_once('\n') {
        Some((query, last)) => (query, Some(last)),
        None => (&*text, None),
    };
    format!("{}; {}", page(query), events(query, last))
}

fn page(query: &str) -> String {
    match parse_page(query) {
        Ok(page) => {
            assert!((1..=Page::MOST).contains(&page.limit), "{page:?}");
            let number = match page.from {
                From::End => 0,
                From::Before(number) | From::After(number) => number,
            };
            assert!(number >= 0, "{page:?}");
            assert_eq!(parse_page(&page_query(page)), Ok(page));
            plain(&format!("{page:?}"))
        }
        Err(error) => {
            named(&error.message, &["limit", "before", "after"]);
            plain(&error.message)
        }
    }
}

fn events(query: &str, last: Option<&str>) -> String {
    match parse_events(query, last) {
        Ok(after) => {
            let after = after.inspect(|after| assert!(*after >= 0, "{after}"));
            // What it tells its clients brings them back to the same place.
            let told = after.map(|after| after.to_string());
            assert_eq!(parse_events("", told.as_deref()), Ok(after));
            if let (Some(told), None) = (&told, last) {
                assert_eq!(parse_events(&format!("after={told}"), None), Ok(after));
            }
            if let (Some(last), Some(after)) = (last, after) {
                assert_eq!(last.parse(), Ok(after), "the header is what counts");
            }
            plain(&format!("{after:?}"))
        }
        Err(error) => {
            named(&error.message, &["after", "Last-Event-ID"]);
            plain(&error.message)
        }
    }
}

/// An error begins with the parameter that is wrong, or quotes one that there is not.
fn named(message: &str, known: &[&str]) {
    let unknown = message.starts_with('"') && message.contains("there is no such parameter");
    let begins = |name: &&str| message.starts_with(&format!("{name}: "));
    assert!(unknown || known.iter().any(begins), "{message}");
}
