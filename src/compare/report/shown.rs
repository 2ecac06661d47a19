//! Text from outside, made fit to be shown: answers of foreign programs are in
//! a report, and may hold anything.

use std::fmt::Write as _;

/// Longer answers say little more, and would bury the rest of the report.
const LIMIT: usize = 400;

/// One line without control characters: they could move the terminal's cursor,
/// set its title, or show the text in another order than it has.
pub fn line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(LIMIT) {
        match c {
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    let rest = text.chars().count().saturating_sub(LIMIT);
    if rest > 0 {
        // A String takes whatever is written to it.
        let _ = write!(out, "... ({rest} more characters)");
    }
    out
}

/// A `line` as HTML, in text or between the quotes of an attribute.
pub fn html(text: &str) -> String {
    escape(&line(text))
}

/// For text of our own.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For `id` and links: lower case ASCII letters and digits, all else one `-`.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

/// Marks of direction, separators of lines, and characters without a width.
/// The joiners U+200C and U+200D are left: words and emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        let bell_and_colour = "a\u{1b}[31m\u{7}\n\u{9b}2J\u{202e}b \u{43f}\u{440}";
        let shown = line(bell_and_colour);
        assert_eq!(
            shown,
            "a\\u{1b}[31m\\u{7}\\n\\u{9b}2J\\u{202e}b \u{43f}\u{440}"
        );
        assert!(!shown.contains(char::is_control));
    }

    #[test]
    fn a_long_answer_is_cut_and_says_so() {
        let shown = line(&"x".repeat(LIMIT + 7));
        assert!(shown.ends_with("x... (7 more characters)"));
    }

    #[test]
    fn hostile_strings_are_text() {
        let hostile = "<script>alert(\"1\")</script> & 'x'";
        let shown = html(hostile);
        assert!(!shown.contains(['<', '>', '"', '\'']));
        assert_eq!(
            shown,
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;"
        );
    }

    #[test]
    fn slugs_are_fit_for_links() {
        assert_eq!(slug("bridge's port"), "bridge-s-port");
        assert_eq!(slug("author, text"), "author-text");
        assert_eq!(slug("<b>"), "b");
    }
}
