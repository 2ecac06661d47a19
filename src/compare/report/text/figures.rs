//! A measurement as a table of characters.

use comfy_table::{Cell, CellAlignment, Color, Table};

use super::{Style, table};
use crate::compare::report::grid::{self, Cell as Figure};
use crate::compare::report::number::{self, Ratio, Verdict};
use crate::compare::report::shown::line;
use crate::compare::report::{Measurement, Speed};

/// A column for each peer where there is room, else a line for each.
pub fn table_of(speed: &Speed, measurement: &Measurement, style: Style) -> Table {
    // Measured without a width, which would break its lines to fit.
    let natural = Style {
        width: None,
        ..style
    };
    let wide = wide(speed, measurement, natural);
    let columns = wide.column_max_content_widths();
    // Two spaces for each column, as comfy-table pads them.
    let needed: usize = columns.iter().map(|&column| usize::from(column) + 2).sum();
    match style.width {
        Some(width) if needed > width => long(speed, measurement, style),
        _ => wide,
    }
}

fn wide(speed: &Speed, measurement: &Measurement, style: Style) -> Table {
    let mut shown = table(style);
    let peers = speed.peers.iter().map(|peer| line(peer));
    shown.set_header(std::iter::once(String::new()).chain(peers));
    for metric in grid::metrics(measurement) {
        let figures = grid::row(speed, measurement, metric);
        let cells = figures.iter().map(|figure| match figure {
            Figure::Figure { ratio, .. } => {
                let ratio = ratio.as_ref();
                let below = ratio.map_or(String::new(), |ratio| format!("\n{}", ratio.text));
                let cell = format!("{} {}{below}", median(figure), range(figure));
                judged(Cell::new(cell), ratio, style)
            }
            _ => failed(Cell::new(median(figure)), figure, style),
        });
        let unit = metric.unit(&line(&measurement.operation));
        let good = number::good(metric);
        let name = Cell::new(format!("{}, {unit}\n({good})", metric.title()));
        shown.add_row(std::iter::once(name).chain(cells).collect::<Vec<_>>());
    }
    for column in shown.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    shown
}

fn long(speed: &Speed, measurement: &Measurement, style: Style) -> Table {
    let mut shown = table(style);
    for metric in grid::metrics(measurement) {
        let unit = metric.unit(&line(&measurement.operation));
        let name = format!("{}, {unit}", metric.title());
        let good = format!("({})", number::good(metric));
        let figures = grid::row(speed, measurement, metric);
        // What the metric is stands beside the first peers, not above them all.
        let mut names = [name, good].into_iter();
        for (peer, figure) in speed.peers.iter().zip(&figures) {
            let ratio = match figure {
                Figure::Figure { ratio, .. } => ratio.as_ref(),
                _ => None,
            };
            let comparison = ratio.map_or(String::new(), |ratio| ratio.text.clone());
            shown.add_row([
                Cell::new(names.next().unwrap_or_default()),
                Cell::new(line(peer)),
                failed(Cell::new(median(figure)), figure, style),
                Cell::new(range(figure)),
                judged(Cell::new(comparison), ratio, style),
            ]);
        }
        if let Some(left) = names.next() {
            shown.add_row([left]);
        }
    }
    for column in shown.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    shown
}

fn median(figure: &Figure) -> &str {
    match figure {
        Figure::Figure { median, .. } => median,
        Figure::Fails => "fails",
        Figure::Absent => grid::ABSENT,
    }
}

/// `(min to max)`, if there is one.
fn range(figure: &Figure) -> String {
    match figure {
        Figure::Figure {
            range: Some(range), ..
        } => format!("({range})"),
        _ => String::new(),
    }
}

fn judged(cell: Cell, ratio: Option<&Ratio>, style: Style) -> Cell {
    match ratio.map(|ratio| ratio.verdict) {
        Some(Verdict::Better) if style.colour => cell.fg(Color::DarkGreen),
        Some(Verdict::Worse) if style.colour => cell.fg(Color::DarkYellow),
        _ => cell,
    }
}

fn failed(cell: Cell, figure: &Figure, style: Style) -> Cell {
    match figure {
        Figure::Fails if style.colour => cell.fg(Color::DarkRed),
        _ => cell,
    }
}
