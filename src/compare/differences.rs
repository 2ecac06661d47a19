//! How the Python programs differ from ours: `docs/differences.json`, the one
//! list from which the report and `docs/differences.md` are made, and which the
//! tests hold against the programs.

use std::fmt::Write as _;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Texts are within a line, and of Markdown they have only code between backticks.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Differences {
    pub introduction: String,
    pub groups: Vec<Group>,
}

/// The services that share a table.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub title: String,
    pub introduction: String,
    pub rows: Vec<Row>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique among all rows.
    pub name: String,
    pub python: String,
    pub ours: String,
    /// Empty where the difference speaks for itself.
    #[serde(default)]
    pub why: String,
    /// The checks of `messenger compare` that show it.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Where no check does: the paths of the integration tests that show ours.
    #[serde(default)]
    pub tests: Vec<String>,
    /// How `messenger shadow` sees it: "WHERE WHAT: PYTHON | OURS", `*` for anything.
    #[serde(default)]
    pub live: Vec<String>,
}

/// All of them, in the order to show.
///
/// # Panics
/// If the file, which is part of this program, were no such list; a test reads it.
pub fn all() -> &'static Differences {
    static ALL: OnceLock<Differences> = OnceLock::new();
    ALL.get_or_init(|| {
        serde_json::from_str(include_str!("../../docs/differences.json"))
            .unwrap_or_else(|error| panic!("docs/differences.json: {error}"))
    })
}

/// Those of all groups.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    all().groups.iter().flat_map(|group| &group.rows)
}

/// The row that a check shows.
pub fn of_check(check: &str) -> Option<&'static Row> {
    rows().find(|row| row.checks.iter().any(|name| name == check))
}

/// The row that a difference shows, whichever side the Python program is.
pub fn of_live(at: &str, what: &str, [left, right]: &[String; 2]) -> Option<&'static Row> {
    let seen = [[left, right], [right, left]].map(|[a, b]| format!("{at} {what}: {a} | {b}"));
    let fits = |pattern: &String| seen.iter().any(|seen| fits(pattern, seen));
    rows().find(|row| row.live.iter().any(fits))
}

/// Whether the text is the pattern, with anything for each `*`.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let behind = text.strip_prefix(start);
    behind.is_some_and(|text| {
        let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        ends.any(|at| fits(rest, &text[at..]))
    })
}

/// `docs/differences.md`.
pub fn markdown() -> String {
    let mut out = format!(
        "# Differences from the Python programs\n\n\
         <!-- Made from differences.json by `make docs`. -->\n\n{}\n",
        all().introduction
    );
    for group in &all().groups {
        // A String takes whatever is written to it; so it is below, too.
        let _ = write!(
            out,
            "\n## {}\n\n{}\n\n| | Python | here | why | shown by |\n|---|---|---|---|---|\n",
            group.title, group.introduction
        );
        for row in &group.rows {
            let (name, python, ours) = (&row.name, &row.python, &row.ours);
            let shown = row.shown_by().map(|name| format!("`{name}`"));
            let shown: Vec<_> = shown.collect();
            let why = match row.why.as_str() {
                "" => String::new(),
                why => format!(" {why}"),
            };
            let _ = writeln!(
                out,
                "| {name} | {python} | {ours} |{why} | {} |",
                shown.join(", ")
            );
        }
    }
    out
}

impl Row {
    /// The names of the checks, or of the test functions without their modules.
    pub fn shown_by(&self) -> impl Iterator<Item = &str> {
        let tests = self.tests.iter();
        let functions = tests.map(|path| path.rsplit("::").next().unwrap_or(path));
        self.checks.iter().map(String::as_str).chain(functions)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_unique_whole_and_fit_into_a_table() {
        let names: BTreeSet<_> = rows().map(|row| &row.name).collect();
        assert_eq!(names.len(), rows().count());
        for row in rows() {
            assert!(row.shown_by().next().is_some(), "{}", row.name);
            for cell in [&row.name, &row.python, &row.ours] {
                assert!(!cell.is_empty(), "{}", row.name);
            }
            for cell in [&row.name, &row.python, &row.ours, &row.why] {
                assert!(!cell.contains(['|', '\n']), "{cell}");
                // All of Markdown that the report's page knows is code.
                assert!(cell.matches('`').count() % 2 == 0, "{cell}");
                assert!(!cell.contains("**") && !cell.contains("]("), "{cell}");
            }
        }
    }

    #[test]
    fn a_difference_that_is_seen_leads_to_its_row() {
        let row = |at, left: &str, right: &str| {
            of_live(at, "status", &[left.into(), right.into()]).map(|row| &*row.name)
        };
        assert_eq!(row("POST /x", "501 no", "404 {}"), Some("unknown path"));
        assert_eq!(row("POST /x", "404 {}", "501 no"), Some("unknown path"));
        assert_eq!(row("POST /x", "404 {}", "200 {}"), None);
    }

    #[test]
    fn a_check_leads_to_its_row() {
        assert_eq!(
            of_check("forty-readers").map(|row| &*row.name),
            Some("readers")
        );
        assert!(of_check("order").is_none());
        let mut checks: Vec<_> = rows().flat_map(|row| &row.checks).collect();
        let count = checks.len();
        checks.sort();
        checks.dedup();
        assert_eq!(checks.len(), count, "each check shows one row");
    }
}
