//! A bar for each peer: its median, with a whisker from least to greatest.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::scale::Scale;
use super::{
    Area, Drawn, GRID, INK, MUTED, SMALL, Spread, TEXT, brief, colour, font, stroke, svg, width,
    write,
};
use crate::compare::report::number;

const WIDTH: u32 = 440;
const ROW: u32 = 26;
const AXIS: u32 = 42;
/// For the figure behind the longest bar.
const RIGHT: u32 = 74;

/// One peer's.
pub struct Bar {
    /// Fit to be shown.
    pub name: String,
    pub value: Value,
}

pub enum Value {
    Figure(Spread),
    /// Why there is none, in a word.
    Word(&'static str),
}

/// None if it cannot be drawn, or no peer has a figure.
pub fn bars(description: &str, unit: &str, bars: &[Bar]) -> Option<String> {
    let spread = |bar: &Bar| match bar.value {
        Value::Figure(spread) => Some(spread),
        Value::Word(_) => None,
    };
    let spreads: Vec<_> = bars.iter().filter_map(spread).collect();
    if spreads.is_empty() {
        return None;
    }
    let scale = Scale::new(&spreads);
    let rows = u32::try_from(bars.len()).ok()?;
    let height = rows * ROW + AXIS + 6;
    let draw = |area: &Area| draw(area, &scale, unit, bars);
    svg((WIDTH, height), description, draw)
}

fn draw(area: &Area, scale: &Scale, unit: &str, bars: &[Bar]) -> Drawn {
    let names = bars.iter().map(|bar| width(&brief(&bar.name)));
    let left = names.max().unwrap_or(0) + 12;
    let rows = bars.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .margin_top(2)
        .margin_right(RIGHT)
        .margin_bottom(2)
        .x_label_area_size(AXIS)
        .y_label_area_size(left)
        .build_cartesian_2d(scale.clone(), 0.0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .bold_line_style(GRID)
        .axis_style(MUTED)
        .label_style(font(SMALL, MUTED))
        .axis_desc_style(font(SMALL, MUTED))
        .x_desc(scale.title(unit))
        .draw()?;
    for (i, bar) in bars.iter().enumerate() {
        let middle = rows - 0.5 - i as f64;
        let place = |value: f64| chart.backend_coord(&(value, middle));
        let (x, y) = place(scale.start());
        write(
            area,
            &brief(&bar.name),
            (x - 8, y),
            &font(TEXT, INK),
            HPos::Right,
        )?;
        match bar.value {
            Value::Word(word) => write(area, word, (x + 8, y), &font(TEXT, MUTED), HPos::Left)?,
            Value::Figure(spread) => {
                let at = |value| place(value).0;
                let to = at(spread.median).max(x + 1);
                let corners = [(x, y - 8), (to, y + 8)];
                area.draw(&Rectangle::new(corners, colour(i).filled()))?;
                whisker(area, y, at(spread.low), at(spread.high))?;
                let text = number::number(spread.median);
                let behind = (to.max(at(spread.high)) + 8, y);
                write(area, &text, behind, &font(TEXT, INK), HPos::Left)?;
            }
        }
    }
    Ok(())
}

fn whisker(area: &Area, y: i32, from: i32, to: i32) -> Drawn {
    if from == to {
        return Ok(());
    }
    let ink = INK.stroke_width(1);
    stroke(area, (from, y), (to, y), ink)?;
    stroke(area, (from, y - 4), (from, y + 4), ink)?;
    stroke(area, (to, y - 4), (to, y + 4), ink)
}
