//! A report as one HTML page that needs nothing else: no script, no font, no
//! picture from elsewhere. It is also well-formed XML.

mod behaviour;
mod speed;

use std::fmt::Write as _;

use super::inline::inline;
use super::shown::{html, slug};
use super::{Report, number};
use crate::compare::differences::{self, Row};

const STYLE: &str = include_str!("page.css");

/// Nothing on the page may load or run, whatever a foreign program answered.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// All of the report.
pub fn page(report: &Report) -> String {
    let mut body = machine(report);
    body += &contents(report);
    if !report.behaviour.is_empty() {
        body += "<section id=\"behaviour\">\n<h2>Behaviour</h2>\n";
        body += behaviour::INTRODUCTION;
        for table in &report.behaviour {
            body += &behaviour::matrix(table);
        }
        body += "</section>\n";
    }
    if let Some(found) = &report.speed {
        body += &speed::section(found);
    }
    body += &differences(report);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>messenger compared, {}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        html(&report.date)
    )
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let mut out = format!(
        "<header>\n<h1>messenger, compared</h1>\n<dl>\n\
         <div><dt>When</dt><dd>{}</dd></div>\n\
         <div><dt>Machine</dt><dd>{}, {} cores, {}, {}</dd></div>\n",
        html(&report.date),
        html(&machine.cpu),
        machine.cores,
        number::bytes(machine.memory_bytes),
        html(&machine.kernel),
    );
    for (program, version) in &machine.versions {
        let (program, version) = (html(program), html(version));
        // A String takes whatever is written to it; so it is below, too.
        let _ = writeln!(out, "<div><dt>{program}</dt><dd>{version}</dd></div>");
    }
    out + "</dl>\n</header>\n"
}

fn contents(report: &Report) -> String {
    let mut links = Vec::new();
    let mut link = |id: &str, title: &str| {
        links.push(format!("<li><a href=\"#{id}\">{title}</a></li>"));
    };
    for table in &report.behaviour {
        link(&behaviour::id(table), &html(&table.title));
    }
    if let Some(speed) = &report.speed {
        for measurement in &speed.measurements {
            link(&speed::id(measurement), &html(&measurement.name));
        }
    }
    link("differences", "Differences");
    format!(
        "<nav aria-label=\"Contents\"><ul>{}</ul></nav>\n",
        links.concat()
    )
}

/// All groups, and which checks of this report each row explains.
fn differences(report: &Report) -> String {
    let mut out = format!(
        "<section id=\"differences\">\n<h2>Differences</h2>\n<p>{}</p>\n",
        inline(&differences::all().introduction)
    );
    let heads = ["what", "Python", "here", "why", "shown by"]
        .map(head)
        .concat();
    for group in &differences::all().groups {
        let title = inline(&group.title);
        let mut table = format!("<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n");
        for row in &group.rows {
            let cells = [&row.python, &row.ours, &row.why].map(|cell| inline(cell));
            let _ = writeln!(
                table,
                "<tr id=\"{}\"><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                anchor(row),
                inline(&row.name),
                cells.join("</td><td>"),
                shown_by(report, row),
            );
        }
        table += "</tbody>\n</table>\n";
        let introduction = inline(&group.introduction);
        let _ = write!(out, "<h3>{title}</h3>\n<p>{introduction}</p>\n");
        out += &scrolling(&title, &table);
    }
    out + "</section>\n"
}

fn head(html: &str) -> String {
    format!("<th scope=\"col\">{html}</th>")
}

/// A box of its own for what may be wider than the screen; the keyboard reaches
/// it too. The label is HTML.
fn scrolling(label: &str, html: &str) -> String {
    format!(
        "<div class=\"wide\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\">\n{html}</div>\n"
    )
}

/// The checks and tests of a row; links to those that are in this report.
fn shown_by(report: &Report, row: &Row) -> String {
    let tables = report.behaviour.iter();
    let checks = tables.flat_map(|table| table.rows.iter().map(move |check| (table, check)));
    let checks: Vec<_> = checks.collect();
    let shown = row.shown_by().map(|name| {
        let found = checks.iter().find(|(_, check)| check.name == name);
        let name = format!("<code>{}</code>", html(name));
        match found {
            Some((table, check)) => {
                let id = behaviour::check_id(table, check);
                format!("<a href=\"#{id}\">{name}</a>")
            }
            None => name,
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The `id` of a row of the differences.
fn anchor(row: &Row) -> String {
    format!("difference-{}", slug(&row.name))
}

/// `id`s are of names that come from the report.
fn id_of(kind: &str, name: &str) -> String {
    format!("{kind}-{}", slug(name))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
