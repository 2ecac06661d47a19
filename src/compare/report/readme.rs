//! The README's table of differences of the chat, which the rows of a comparison refer to.

use super::shown::{escape, slug};

const README: &str = include_str!("../../../docs/differences.md");
const HEADING: &str = "## Differences from the Python programs";

/// A row of the table: its cells as they are in the README, the first is the key.
pub type Row = Vec<&'static str>;

/// The first cell of each row.
pub fn differences() -> Vec<String> {
    let rows = rows(section(README)).into_iter().skip(1);
    rows.filter_map(|row| row.first().map(|key| (*key).to_owned()))
        .collect()
}

/// The head of the table, then its rows.
pub fn table() -> Vec<Row> {
    rows(section(README))
}

/// What stands above the table, as HTML.
pub fn introduction() -> String {
    let lines = section(README).lines();
    let text: Vec<_> = lines.take_while(|line| !line.starts_with('|')).collect();
    inline(text.join(" ").trim())
}

/// The `id` of a row on the page; None of a key that no row has.
pub fn anchor(key: &str) -> Option<String> {
    let known = differences().iter().any(|known| known == key);
    known.then(|| format!("difference-{}", slug(key)))
}

/// Markdown within a line as HTML: code, `**`, and links into the Web. Links
/// within the README lead nowhere from a page, so only their text is left.
pub fn inline(markdown: &str) -> String {
    let (mut out, mut rest) = (String::new(), markdown);
    while let Some(c) = rest.chars().next() {
        let (html, length) = code(rest)
            .or_else(|| bold(rest))
            .or_else(|| link(rest))
            .unwrap_or_else(|| (escape(&rest[..c.len_utf8()]), c.len_utf8()));
        out += &html;
        rest = &rest[length..];
    }
    out
}

// Each gives the HTML and how much of the Markdown it stands for.

fn code(text: &str) -> Option<(String, usize)> {
    let (inner, _) = text.strip_prefix('`')?.split_once('`')?;
    let html = format!("<code>{}</code>", escape(inner));
    Some((html, inner.len() + 2))
}

fn bold(text: &str) -> Option<(String, usize)> {
    let (inner, _) = text.strip_prefix("**")?.split_once("**")?;
    let html = format!("<strong>{}</strong>", inline(inner));
    Some((html, inner.len() + 4))
}

fn link(text: &str) -> Option<(String, usize)> {
    let (label, after) = text.strip_prefix('[')?.split_once("](")?;
    let (target, _) = after.split_once(')')?;
    let html = if target.starts_with("https://") {
        format!("<a href=\"{}\">{}</a>", escape(target), inline(label))
    } else {
        inline(label)
    };
    Some((html, label.len() + target.len() + 4))
}

/// From below the heading to the next one.
fn section(readme: &'static str) -> &'static str {
    let (_, after) = readme.split_once(HEADING).unwrap_or_default();
    after
        .split_once("\n##")
        .map_or(after, |(section, _)| section)
}

fn rows(section: &'static str) -> Vec<Row> {
    let lines = section.lines().filter(|line| line.starts_with('|'));
    let rule = |line: &&str| line.chars().all(|c| "|-: ".contains(c));
    lines.filter(|line| !rule(line)).map(cells).collect()
}

fn cells(line: &'static str) -> Row {
    let inner = line.trim().trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    inner.split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_of_the_readme_is_found() {
        let lines = section(README).lines();
        let count = lines.filter(|line| line.starts_with('|')).count();
        let keys = differences();
        // Two lines are the head and the rule below it.
        assert_eq!(keys.len(), count - 2);
        assert!(keys.len() >= 20);
        assert!(keys.contains(&"readers".to_owned()));
        assert!(keys.contains(&"Content-Type of answers".to_owned()));
        for row in table() {
            assert_eq!(row.len(), 4, "{row:?}");
        }
    }

    #[test]
    fn anchors_are_unique_and_only_of_rows() {
        let anchors: BTreeSet<_> = differences().iter().filter_map(|k| anchor(k)).collect();
        assert_eq!(anchors.len(), differences().len());
        assert!(anchors.contains("difference-bridge-s-port"));
        assert_eq!(anchor("no such row"), None);
    }

    #[test]
    fn markdown_becomes_html() {
        assert_eq!(
            inline("`a<b` and **c `d`** [e](#f) [g](https://h/?i&j) 2 * 3 [k] < `"),
            "<code>a&lt;b</code> and <strong>c <code>d</code></strong> e \
             <a href=\"https://h/?i&amp;j\">g</a> 2 * 3 [k] &lt; `"
        );
        assert_eq!(inline("\u{43f}\u{440}"), "\u{43f}\u{440}");
    }

    #[test]
    fn the_introduction_is_what_stands_above_the_table() {
        let text = introduction();
        assert!(text.contains("Python") && !text.contains('|'));
    }
}
