//! A line for each peer over the number of readers, up to where it fails.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::scale::Scale;
use super::{
    Area, Drawn, GRID, INK, MUTED, SMALL, Spread, TEXT, brief, colour, font, stroke, svg, width,
    write,
};

const SIZE: (u32, u32) = (1000, 380);
const LINE_HEIGHT: i32 = 17;

/// One peer's.
pub struct Line {
    /// Fit to be shown.
    pub name: String,
    /// Which of the peers it is: it has the same colour in all figures.
    pub peer: usize,
    /// By number of readers, ascending.
    pub points: Vec<(u64, Spread)>,
    /// With how many readers it failed, and how, in a word.
    pub fails: Option<(u64, &'static str)>,
}

/// A label, and where it would best be.
struct Label {
    at: (i32, i32),
    text: String,
    peer: usize,
}

/// None if it cannot be drawn, or has less than two numbers of readers.
pub fn lines(description: &str, unit: &str, lines: &[Line]) -> Option<String> {
    let mut readers: Vec<u64> = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.0))
        .chain(lines.iter().filter_map(|line| Some(line.fails?.0)))
        .collect();
    readers.sort_unstable();
    readers.dedup();
    let points = lines.iter().flat_map(|line| &line.points);
    let spreads: Vec<_> = points.map(|point| point.1).collect();
    if readers.len() < 2 || spreads.is_empty() {
        return None;
    }
    let scale = Scale::new(&spreads);
    let draw = |area: &Area| draw(area, &scale, unit, &readers, lines);
    svg(SIZE, description, draw)
}

fn draw(area: &Area, scale: &Scale, unit: &str, readers: &[u64], lines: &[Line]) -> Drawn {
    let names = lines.iter().map(|line| width(&label(line)));
    let across = Scale::of(readers.iter().map(|&n| n as f64).collect());
    let right = names.max().unwrap_or(0) + 36;
    let mut chart = ChartBuilder::on(area)
        .margin_top(12)
        .margin_right(right)
        .margin_bottom(2)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(across.clone(), scale.clone())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .axis_style(MUTED)
        .label_style(font(SMALL, MUTED))
        .axis_desc_style(font(SMALL, MUTED))
        .x_desc(across.title("readers"))
        .y_desc(scale.title(unit))
        .draw()?;
    let place = |n: u64, value: f64| chart.backend_coord(&(n as f64, value));
    let mut labels = Vec::new();
    for line in lines {
        labels.extend(draw_line(area, line, &place)?);
    }
    // The last row of the plot, so that no label comes to stand on the axis.
    let bottom = place(0, 0.0).1 - LINE_HEIGHT / 2;
    for label in apart(labels, bottom) {
        let (x, y) = label.at;
        marker(area, label.peer, (x + 16, y))?;
        let style = font(TEXT, INK);
        write(area, &label.text, (x + 26, y), &style, HPos::Left)?;
    }
    Ok(())
}

fn label(line: &Line) -> String {
    match line.fails {
        Some((_, word)) => format!("{} {word}", brief(&line.name)),
        None => brief(&line.name),
    }
}

/// Its points, whiskers and end; gives the label of the end.
fn draw_line(
    area: &Area,
    line: &Line,
    place: &impl Fn(u64, f64) -> (i32, i32),
) -> Result<Option<Label>, DrawingAreaErrorKind<std::io::Error>> {
    let own = colour(line.peer);
    let points = line.points.iter();
    let path: Vec<_> = points.map(|(n, spread)| place(*n, spread.median)).collect();
    let mut end = path.last().copied();
    area.draw(&PathElement::new(path.clone(), own.stroke_width(2)))?;
    for (n, spread) in &line.points {
        let ((x, low), (_, high)) = (place(*n, spread.low), place(*n, spread.high));
        stroke(area, (x, low), (x, high), own.stroke_width(1))?;
        stroke(area, (x - 4, low), (x + 4, low), own.stroke_width(1))?;
        stroke(area, (x - 4, high), (x + 4, high), own.stroke_width(1))?;
    }
    for at in path {
        marker(area, line.peer, at)?;
    }
    if let Some((n, _)) = line.fails {
        // Without a figure before it, the mark stands on the axis.
        let x = place(n, 0.0).0;
        let at = (x, end.map_or(place(n, 0.0).1 - 10, |(_, y)| y));
        if let Some(from) = end {
            dashes(area, from, at, own.stroke_width(1))?;
        }
        cross(area, at, own.stroke_width(3))?;
        end = Some(at);
    }
    Ok(end.map(|at| Label {
        at,
        text: label(line),
        peer: line.peer,
    }))
}

/// Level, from the last figure to where there is none.
fn dashes(area: &Area, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
    for x in (from.0..to.0).step_by(8) {
        stroke(area, (x, from.1), ((x + 4).min(to.0), from.1), style)?;
    }
    Ok(())
}

fn cross(area: &Area, (x, y): (i32, i32), style: ShapeStyle) -> Drawn {
    stroke(area, (x - 5, y - 5), (x + 5, y + 5), style)?;
    stroke(area, (x - 5, y + 5), (x + 5, y - 5), style)
}

/// A shape of its own for each peer, for those who do not tell the colours.
fn marker(area: &Area, peer: usize, (x, y): (i32, i32)) -> Drawn {
    let style = colour(peer).filled();
    let corners = match peer % 6 {
        0 => return area.draw(&Circle::new((x, y), 5, style)),
        1 => vec![
            (x - 4, y - 4),
            (x + 4, y - 4),
            (x + 4, y + 4),
            (x - 4, y + 4),
        ],
        2 => vec![(x, y - 6), (x + 6, y + 4), (x - 6, y + 4)],
        3 => vec![(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)],
        4 => vec![(x, y + 6), (x + 6, y - 4), (x - 6, y - 4)],
        _ => vec![
            (x - 6, y - 2),
            (x + 6, y - 2),
            (x + 6, y + 2),
            (x - 6, y + 2),
        ],
    };
    area.draw(&Polygon::new(corners, style))
}

/// Those that end together from top to bottom, none on another, none below the
/// bottom.
fn apart(mut labels: Vec<Label>, bottom: i32) -> Vec<Label> {
    labels.sort_by_key(|label| label.at);
    for together in labels.chunk_by_mut(|a, b| a.at.0 == b.at.0) {
        let mut floor = i32::MIN;
        for label in together.iter_mut() {
            label.at.1 = label.at.1.max(floor);
            floor = label.at.1 + LINE_HEIGHT;
        }
        let mut ceiling = bottom;
        for label in together.iter_mut().rev() {
            label.at.1 = label.at.1.min(ceiling);
            ceiling = label.at.1 - LINE_HEIGHT;
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_cover_each_other() {
        let label = |y| Label {
            at: (0, y),
            text: String::new(),
            peer: 0,
        };
        let placed = apart(vec![label(100), label(98), label(10), label(101)], 110);
        let rows: Vec<_> = placed.iter().map(|label| label.at.1).collect();
        assert!(rows.windows(2).all(|two| two[1] - two[0] >= LINE_HEIGHT));
        assert_eq!((rows[0], rows[3]), (10, 110));
    }

    #[test]
    fn one_number_of_readers_makes_no_line() {
        let spread = Spread {
            low: 1.0,
            median: 1.0,
            high: 1.0,
        };
        let line = Line {
            name: "Rust".into(),
            peer: 0,
            points: vec![(1, spread)],
            fails: None,
        };
        assert!(lines("", "us", &[line]).is_none());
    }
}
