//! A report for the terminal. Its answer comes last, for a terminal scrolls.

use std::iter::once;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Row, Table, presets};

use super::view::{Checks, Speed, View, WORDS};

/// All of the report. `width` is that of the terminal in characters; without one
/// no line is broken, and there are no colours.
pub fn text(view: &View, width: Option<u16>) -> String {
    let out = String::new();
    let mut page = Page { out, width };
    page.line(&format!("{}: {}", view.when, view.machine));
    page.line(&view.versions);
    view.tables.iter().for_each(|table| page.checks(table));
    view.speed.iter().for_each(|speed| page.speed(speed));
    view.tables.iter().for_each(|table| page.counts(table));
    view.speed.iter().for_each(|speed| page.in_short(speed));
    page.out
}

struct Page {
    out: String,
    width: Option<u16>,
}

impl Page {
    fn checks(&mut self, checks: &Checks) {
        self.heading(&checks.title);
        let mut table = self.table(checks.columns.iter().map(|column| &column.name));
        let mut answers = self.empty();
        for row in &checks.rows {
            table.add_row(named(
                &row.name,
                row.cells.iter().map(|word| painted(word, word)),
            ));
            let why = row
                .difference
                .map(|(_, name)| format!("difference: {name}"));
            let why = why.unwrap_or_else(|| "UNEXPLAINED: no difference names this check".into());
            for answer in &row.answers {
                let got = &answer.got;
                let found = match &answer.expected {
                    Some(expected) => format!("expected {expected}; got {got} ({why})"),
                    None => got.clone(),
                };
                let found = format!("[{}] {}: {found}", answer.columns.join(" | "), answer.word);
                answers.add_row([&row.name, &found]);
            }
        }
        self.write(&table);
        self.out.push('\n');
        self.write(&answers);
    }

    fn speed(&mut self, speed: &Speed) {
        self.heading("Speed");
        self.line(&speed.method);
        for measured in &speed.measurements {
            self.heading(&format!("{}: {}", measured.name, measured.title));
            let mut table = self.table(&speed.peers);
            for row in &measured.rows {
                let cells = row.cells.iter().map(|cell| {
                    let text = format!("{}{}\n{}", cell.figure, cell.range, cell.ratio);
                    painted(text, cell.verdict)
                });
                table.add_row(named(&format!("{}\n({})", row.title, row.good), cells));
            }
            self.write(&table);
            for (peer, why) in &measured.failures {
                self.line(&format!("{peer} fails: {why}"));
            }
        }
    }

    /// How many checks each column passes and does not.
    fn counts(&mut self, checks: &Checks) {
        let title = checks.title.to_lowercase();
        self.heading(&format!("Checks of {title}: {}", checks.rows.len()));
        let mut table = self.table(WORDS);
        for column in &checks.columns {
            let counts = column.counts.iter().zip(WORDS);
            let counts = counts.map(|(n, word)| painted(n, if *n > 0 { word } else { "" }));
            table.add_row(named(&column.name, counts));
        }
        self.write(&table);
    }

    /// The few figures that stand for all others.
    fn in_short(&mut self, speed: &Speed) {
        self.heading("Speed in short");
        let mut table = self.table(&speed.peers);
        for row in &speed.answer {
            let cells = row.cells.iter();
            let cells = cells.map(|cell| painted(&cell.figure, cell.verdict));
            table.add_row(named(&row.title, cells));
        }
        self.write(&table);
        if let Some(warning) = &speed.warning {
            self.heading(&format!("WARNING: {warning}"));
        }
    }

    fn heading(&mut self, text: &str) {
        let mut table = self.empty();
        table.add_row([Cell::new(text).add_attribute(Attribute::Bold)]);
        self.out.push('\n');
        self.write(&table);
    }

    fn line(&mut self, text: &str) {
        let mut table = self.empty();
        table.add_row([text]);
        self.write(&table);
    }

    /// One whose first column names the rows.
    fn table(&self, columns: impl IntoIterator<Item = impl ToString>) -> Table {
        let mut table = self.empty();
        table.set_header(named("", columns.into_iter().map(Cell::new)));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn empty(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.enforce_styling().set_width(width);
        }
        table
    }

    fn write(&mut self, table: &Table) {
        self.out += &table.trim_fmt();
        self.out.push('\n');
    }
}

fn named(name: &str, cells: impl Iterator<Item = Cell>) -> Row {
    Row::from(once(Cell::new(name)).chain(cells))
}

/// In the colour of a word of the view.
fn painted(text: impl ToString, word: &str) -> Cell {
    let cell = Cell::new(text);
    match word {
        "pass" | "better" => cell.fg(Color::DarkGreen),
        "differs" | "worse" => cell.fg(Color::DarkYellow),
        "hangs" | "dies" | "fails" => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        "skipped" => cell.fg(Color::DarkGrey),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::report::sample;

    #[test]
    fn only_colours_control_the_terminal_and_lines_keep_to_its_width() {
        let view = View::of(&sample());
        assert!(
            !text(&view, None)
                .replace('\n', "")
                .contains(char::is_control)
        );
        let shown = text(&view, Some(100));
        let mut plain = String::new();
        for part in shown.split("\u{1b}[") {
            let (code, rest) = part.split_once('m').unwrap_or(("", part));
            let colour = code.chars().all(|c| c.is_ascii_digit() || c == ';');
            plain += if colour { rest } else { part };
        }
        assert!(!plain.replace('\n', "").contains(char::is_control));
        for line in plain.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn every_check_every_answer_and_every_figure_is_there() {
        let view = View::of(&sample());
        let shown = text(&view, None);
        for table in &view.tables {
            for row in &table.rows {
                let line = format!("\n {} ", row.name);
                assert_eq!(
                    shown.matches(&line).count(),
                    1 + row.answers.len(),
                    "{line}"
                );
            }
        }
        assert!(shown.contains(
            "[Python | tonic] differs: expected every time is later than the one before; \
             got 17 of 10,000 times repeat (difference: readers)"
        ));
        assert_eq!(shown.matches("UNEXPLAINED").count(), 2);
        for measurement in &view.speed.as_ref().unwrap().measurements {
            for cell in measurement.rows.iter().flat_map(|row| &row.cells) {
                assert!(shown.contains(&format!("{}{}", cell.figure, cell.range)));
                assert!(shown.contains(&cell.ratio));
            }
        }
        let last = shown.lines().last().unwrap();
        assert_eq!(
            last,
            " WARNING: other programs used up to 22.0 % of the machine"
        );
    }
}
