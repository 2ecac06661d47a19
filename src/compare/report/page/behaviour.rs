//! The matrices of checks.

use std::fmt::Write as _;

use super::{anchor, head, id_of, scrolling};
use crate::compare::differences;
use crate::compare::report::answer::{self, Answer, answers, word};
use crate::compare::report::shown::html;
use crate::compare::report::{BehaviourTable, CheckRow, Outcome, inline::inline};

pub const INTRODUCTION: &str = "<p>Each check talks to the programs from outside, the same way \
    to all. Below a check stand the answers that were not what it expects.</p>\n";

pub fn id(table: &BehaviourTable) -> String {
    id_of("behaviour", &table.title)
}

/// A name may be in several tables.
pub fn check_id(table: &BehaviourTable, row: &CheckRow) -> String {
    id_of(&id(table), &row.name)
}

/// A table with its heading.
pub fn matrix(table: &BehaviourTable) -> String {
    let (id, title) = (id(table), html(&table.title));
    let columns = table.columns.iter().map(|column| head(&html(column)));
    let columns: String = columns.collect();
    let mut out = format!(
        "<table class=\"matrix\">\n\
         <thead><tr><th scope=\"col\">check</th>{columns}</tr></thead>\n"
    );
    for row in &table.rows {
        let cells = row.outcomes.iter().take(table.columns.len()).map(cell);
        let cells: String = cells.collect();
        // A body for each check, so that paper does not part it from its answers.
        let _ = write!(
            out,
            "<tbody id=\"{}\">\n<tr><th scope=\"row\"><code>{}</code> <span>{}</span></th>{cells}</tr>\n",
            check_id(table, row),
            html(&row.name),
            html(&row.title),
        );
        let found = answers(table, row);
        if !found.is_empty() {
            let found: String = found.iter().map(|found| details(row, found)).collect();
            let all = table.columns.len() + 1;
            let _ = writeln!(
                out,
                "<tr class=\"answers\"><td colspan=\"{all}\">{found}</td></tr>"
            );
        }
        out += "</tbody>\n";
    }
    out += "</table>\n";
    format!("<h3 id=\"{id}\">{title}</h3>\n{}", scrolling(&title, &out))
}

/// A sign and a word: the colour alone would not do.
fn cell(outcome: &Outcome) -> String {
    let word = word(outcome);
    let sign = match outcome {
        Outcome::Pass => "\u{2713}",
        Outcome::Differs { .. } => "\u{2260}",
        Outcome::Hangs { .. } => "\u{2026}",
        Outcome::Dies { .. } => "\u{2715}",
        Outcome::Skipped { .. } => "\u{2013}",
    };
    format!("<td class=\"{word}\"><span aria-hidden=\"true\">{sign}</span> {word}</td>")
}

/// Who gave this answer, what it should be and what it is.
fn details(row: &CheckRow, answer: &Answer) -> String {
    let columns = answer.columns.iter().map(|name| html(name));
    let columns: String = columns
        .map(|name| format!("<strong>{name}</strong> "))
        .collect();
    let (outcome, word) = (answer.outcome, word(answer.outcome));
    let who = format!("<p>{columns}<span class=\"{word}\">{word}</span></p>");
    let got = html(&answer::got(outcome));
    let Some(expected) = answer::expected(row, outcome) else {
        return format!("<div>{who}<dl><dt>why</dt><dd>{got}</dd></dl></div>\n");
    };
    format!(
        "<div>{who}<dl><dt>expected</dt><dd><bdi>{}</bdi></dd><dt>got</dt><dd><bdi>{got}</bdi></dd>\
         <dt>why</dt><dd>{}</dd></dl></div>\n",
        html(expected),
        explanation(row.difference.as_deref()),
    )
}

/// A link only where it leads somewhere.
fn explanation(difference: Option<&str>) -> String {
    match differences::rows().find(|row| Some(&*row.name) == difference) {
        Some(row) => format!("<a href=\"#{}\">{}</a>", anchor(row), inline(&row.name)),
        None => "<strong>unexplained</strong>: no difference names this check".into(),
    }
}
