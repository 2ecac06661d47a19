//! What a client prefers by RFC 7240: `Prefer: wait=10; min=3`. Rules only.

use std::time::Duration;

use crate::http::Asked;

/// The longest wait, in seconds.
pub const MOST: u64 = 60;

/// A flush that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Preference {
    pub wait: Duration,
    /// So many messages are waited for, 1 at least.
    pub least: usize,
    /// Whether the client has asked for more than [`MOST`].
    pub clamped: bool,
}

impl Preference {
    /// `None` without a wait, or with one that is no number of seconds; a `min` that is no
    /// number is ignored. Of several the first counts.
    pub fn of(asked: &Asked<'_>) -> Option<Self> {
        let all = asked.header("prefer").flat_map(|field| split(field, ','));
        let mut named = all.map(|preference| split(preference, ';').map(pair));
        let (wait, mut parameters) = named.find_map(|mut parts| match parts.next()? {
            (name, wait) if name.eq_ignore_ascii_case("wait") => Some((number(wait), parts)),
            _ => None,
        })?;
        let wait = wait.filter(|seconds| *seconds > 0)?;
        let min = parameters.find(|(name, _)| name.eq_ignore_ascii_case("min"));
        let least = min.and_then(|(_, count)| number(count)).unwrap_or(1);
        Some(Self {
            wait: Duration::from_secs(wait.min(MOST)),
            least: usize::try_from(least).unwrap_or(usize::MAX).max(1),
            clamped: wait > MOST,
        })
    }
}

/// Not within quoted strings.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        quoted ^= c == '"' && !escaped;
        escaped = quoted && !escaped && c == '\\';
        c == at && !quoted
    })
}

/// Name and value; a value may be in quotes.
fn pair(text: &str) -> (&str, &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    (name.trim(), bare.unwrap_or(value))
}

/// Of digits only; one that is too large for its type is large enough.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str]) -> Option<(u64, usize, bool)> {
        let named = |field: &&str| ("PREFER".to_owned(), (*field).to_owned());
        let headers: Vec<_> = fields.iter().map(named).collect();
        let (method, path) = ("POST", "/");
        let asked = Asked {
            method,
            path,
            headers: &headers,
        };
        let preference = Preference::of(&asked)?;
        let Preference {
            wait,
            least,
            clamped,
        } = preference;
        Some((wait.as_secs(), least, clamped))
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for fields in [
            &["wait=10"][..],
            &[" WAIT = \"10\" "],
            &["respond-async, wait=10, wait=20"],
            &["return=minimal; foo=\"a;,\\\"wait=5\", wait=10"],
            &["handling=lenient", "wait=10", "wait=x"],
            &["wait=10;", "min=3"],
            &["wait=10, min=3"],
            &["min=3, wait=10; min"],
            &["wait=10; min=-1"],
            &["wait=10; min=0"],
        ] {
            assert_eq!(of(fields), Some((10, 1, false)), "{fields:?}");
        }
    }

    #[test]
    fn the_least_number_is_a_parameter_of_the_wait() {
        assert_eq!(of(&["wait=10; min=3"]), Some((10, 3, false)));
        assert_eq!(of(&["wait=10;foo;Min=\"3\";min=4"]), Some((10, 3, false)));
        let many = "wait=10; min=99999999999999999999999";
        assert_eq!(of(&[many]), Some((10, usize::MAX, false)));
    }

    #[test]
    fn a_wait_has_a_most_and_a_bad_one_is_ignored() {
        assert_eq!(of(&["wait=60"]), Some((60, 1, false)));
        for long in ["61", "99999999999999999999999"] {
            assert_eq!(of(&[&format!("wait={long}")]), Some((60, 1, true)));
        }
        for bad in [
            "",
            ",",
            "wait",
            "wait=",
            "wait=0",
            "wait=x",
            "wait=-1",
            "wait=+1",
            "wait=1.5",
            "wait=5s",
            "wait=x, wait=5",
            "min=3",
            "foo=\"wait=5, wait=5\"",
            "foo; wait=5",
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
    }
}
