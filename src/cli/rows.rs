//! Figures as rows: JSON objects for programs, and of the same a table for people.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

/// A column of the table: title, name in the rows, unit (as so many of that in the
/// rows), and digits behind the point.
pub type Column = (&'static str, &'static str, f64, usize);

/// Texts are on the left, numbers on the right, and what is not known is a dash.
pub fn table(rows: &[Value], columns: &[Column]) -> Table {
    let mut table = Table::new();
    let titles = columns.iter().map(|column| column.0);
    table.load_style(presets::NOTHING).set_header(titles);
    for row in rows {
        table.add_row(columns.iter().map(|&(_, name, unit, digits)| {
            let number = row[name].as_f64();
            let number = number.map(|number| format!("{:.digits$}", number / unit));
            let text = row[name].as_str().unwrap_or("-");
            number.unwrap_or_else(|| text.to_owned())
        }));
    }
    for (column, (_, name, ..)) in table.column_iter_mut().zip(columns) {
        if !rows.iter().any(|row| row[name].is_string()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
