//! A report for the terminal.

mod figures;

use std::fmt::Write as _;

use comfy_table::{Attribute, Color, ContentArrangement, Table, presets};

use super::answer::{self, answers, word};
use super::grid;
use super::number;
use super::shown::line;
use super::{BehaviourTable, CheckRow, Measurement, Outcome, Report, Speed};

/// How the terminal wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub colour: bool,
    /// In characters; without it, no line is broken.
    pub width: Option<usize>,
}

/// All of the report. Nothing in it reaches the terminal but characters that
/// are shown, and colours if they were asked for.
pub fn text(report: &Report, style: Style) -> String {
    let mut page = Page {
        out: String::new(),
        style,
    };
    page.machine(report);
    for table in &report.behaviour {
        page.behaviour(table);
    }
    if let Some(speed) = &report.speed {
        page.speed(speed);
    }
    page.out
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn machine(&mut self, report: &Report) {
        let machine = &report.machine;
        self.line(&format!(
            "{}: {}, {} cores, {}, {}",
            line(&report.date),
            line(&machine.cpu),
            machine.cores,
            number::bytes(machine.memory_bytes),
            line(&machine.kernel),
        ));
        let versions = machine.versions.iter();
        let versions: Vec<_> = versions
            .map(|(program, version)| format!("{} {}", line(program), line(version)))
            .collect();
        self.line(&versions.join(", "));
    }

    fn behaviour(&mut self, checks: &BehaviourTable) {
        self.heading(&line(&checks.title));
        let mut shown = table(self.style);
        let columns = checks.columns.iter().map(|column| line(column));
        shown.set_header(std::iter::once(String::new()).chain(columns));
        for row in &checks.rows {
            let cells = row.outcomes.iter().map(|outcome| self.outcome(outcome));
            let name = comfy_table::Cell::new(line(&row.name));
            shown.add_row(std::iter::once(name).chain(cells).collect::<Vec<_>>());
        }
        self.write(&shown);
        self.out.push('\n');
        for (row, found) in checks.rows.iter().map(|row| (row, answers(checks, row))) {
            for answer in found {
                let columns: Vec<_> = answer.columns.iter().map(|name| line(name)).collect();
                self.answer(row, &columns.join(" | "), answer.outcome);
            }
        }
    }

    /// One line for a check that did not pass, and whom it concerns.
    fn answer(&mut self, row: &CheckRow, columns: &str, outcome: &Outcome) {
        let start = format!("{} [{columns}] {}", line(&row.name), word(outcome));
        let got = line(&answer::got(outcome));
        self.line(&match answer::expected(row, outcome) {
            None => format!("{start}: {got}"),
            Some(expected) => {
                let why = match &row.difference {
                    Some(name) => format!("difference: {}", line(name)),
                    None => "UNEXPLAINED: no difference names this check".into(),
                };
                format!("{start}: expected {}; got {got} ({why})", line(expected))
            }
        });
    }

    fn outcome(&self, outcome: &Outcome) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(word(outcome));
        if !self.style.colour {
            return cell;
        }
        match outcome {
            Outcome::Pass => cell.fg(Color::DarkGreen),
            Outcome::Differs { .. } => cell.fg(Color::DarkYellow),
            Outcome::Hangs { .. } | Outcome::Dies { .. } => {
                cell.fg(Color::DarkRed).add_attribute(Attribute::Bold)
            }
            Outcome::Skipped { .. } => cell.fg(Color::DarkGrey),
        }
    }

    fn speed(&mut self, speed: &Speed) {
        self.heading("Speed");
        self.line(&grid::method(speed));
        if let (Some(first), true) = (speed.peers.first(), speed.peers.len() > 1) {
            self.line(&number::convention(&line(first)));
        }
        self.line(grid::ABSENT_MEANS);
        self.warning(speed);
        for measurement in &speed.measurements {
            self.measurement(speed, measurement);
        }
        self.warning(speed);
    }

    fn measurement(&mut self, speed: &Speed, measurement: &Measurement) {
        let (name, title) = (line(&measurement.name), line(&measurement.title));
        self.heading(&format!("{name}: {title}"));
        if !grid::metrics(measurement).is_empty() {
            let table = figures::table_of(speed, measurement, self.style);
            self.write(&table);
        }
        for (peer, why) in grid::failures(speed, measurement) {
            self.line(&format!("{} fails: {}", line(peer), line(why)));
        }
    }

    /// Both before and after the figures, since a terminal scrolls.
    fn warning(&mut self, speed: &Speed) {
        let Some(warning) = &speed.warning else {
            return;
        };
        let warning = format!("!!! WARNING: {} !!!", line(warning));
        self.out.push('\n');
        self.painted("1;31", &warning);
    }

    fn heading(&mut self, text: &str) {
        self.out.push('\n');
        self.painted("1", text);
    }

    /// `code` is one of SGR, the terminal's attributes.
    fn painted(&mut self, code: &str, text: &str) {
        if self.style.colour {
            let _ = write!(self.out, "\u{1b}[{code}m");
        }
        self.line(text);
        if self.style.colour {
            self.out.pop();
            self.out.push_str("\u{1b}[0m\n");
        }
    }

    /// Breaks between words, and sets off what continues a line.
    fn line(&mut self, text: &str) {
        let width = self.style.width.unwrap_or(usize::MAX);
        let mut used = 0;
        for word in text.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > width {
                self.out.push_str("\n   ");
                used = 3;
            }
            if used > 0 {
                self.out.push(' ');
                used += 1;
            }
            self.out.push_str(word);
            used += length;
        }
        self.out.push('\n');
    }

    fn write(&mut self, table: &Table) {
        for line in table.lines() {
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
    }
}

/// An empty table that looks like all others.
fn table(style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if style.colour {
        table.enforce_styling();
    }
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    table
}

#[cfg(test)]
mod tests;
