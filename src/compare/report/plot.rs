//! Plots as inline SVG. Their colours are names for the page's style sheet, which
//! gives each a value for light, for dark and for paper.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::words::{ABSENT, Cell, short};

/// A colour for each peer; more peers begin again with the first.
/// Source: M. Okabe and K. Ito, "Color Universal Design", 2008.
const PEERS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x80, 0x80, 0x80),
];
const GRID: RGBColor = RGBColor(0xD8, 0xD8, 0xD8);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A bar for each peer that there is, from zero to its median, with a whisker from
/// least to greatest and the figure behind it. None if there is no figure.
pub fn bars(peers: &[String], cells: &[Cell]) -> Option<String> {
    let greatest = cells.iter().filter_map(|cell| Some(cell.spread?[2]));
    let most = greatest.reduce(f64::max)?.max(f64::MIN_POSITIVE);
    let named = peers.iter().map(|peer| brief(peer)).zip(cells).enumerate();
    let shown: Vec<_> = named.filter(|(_, (_, c))| c.figure != ABSENT).collect();
    let names = shown
        .iter()
        .map(|(_, (name, _))| name.chars().count())
        .max()?;
    let rows = shown.len() as f64;
    svg((360, 26 * shown.len() as u32), |area| {
        // There are no fonts to measure texts with; a letter takes 8 at most.
        let area = area.margin(0, 0, 8 * names as u32 + 10, 88);
        let chart = ChartBuilder::on(&area).build_cartesian_2d(0.0..most, 0.0..rows)?;
        let area = chart.plotting_area();
        for (row, (peer, (name, cell))) in shown.into_iter().enumerate() {
            let middle = rows - 0.5 - row as f64;
            let [least, median, greatest] = cell.spread.unwrap_or_default();
            let name = Text::new(name, (-8, 0), text(HPos::Right));
            area.draw(&(EmptyElement::at((0.0, middle)) + name))?;
            if cell.spread.is_some() {
                let corners = [(0.0, middle - 0.32), (median, middle + 0.32)];
                area.draw(&Rectangle::new(corners, colour(peer).filled()))?;
                area.draw(&ErrorBar::new_horizontal(
                    middle, least, median, greatest, BLACK, 5,
                ))?;
            }
            let figure = Text::new(cell.figure.clone(), (8, 0), text(HPos::Left));
            area.draw(&(EmptyElement::at((greatest, middle)) + figure))?;
        }
        Ok(())
    })
}

/// A line for each peer over the number of readers, which ascends; both axes are
/// logarithmic. None of less than two numbers.
pub fn over_readers(peers: &[String], sizes: &[(u32, Vec<Cell>)]) -> Option<String> {
    let positive = |cell: &Cell| cell.spread.filter(|spread| spread[0] > 0.0);
    let all = sizes
        .iter()
        .flat_map(|(_, cells)| cells.iter().filter_map(positive));
    let low = all.clone().map(|spread| spread[0]).reduce(f64::min)?;
    let high = all.map(|spread| spread[2]).reduce(f64::max)?;
    let readers: Vec<_> = sizes.iter().map(|(n, _)| f64::from(*n)).collect();
    let [first, .., last] = readers[..] else {
        return None;
    };
    let across = (first * 0.9..last * 1.1).log_scale();
    let across = across.with_key_points(readers.clone());
    let up = (low * 0.8..high * 1.25).log_scale();
    svg((720, 360), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_desc("readers")
            .y_desc("server CPU, us/delivery")
            .x_label_formatter(&|readers| short(*readers))
            .y_label_formatter(&|value| short(*value))
            .label_style(("sans-serif", SIZE))
            .draw()?;
        for (peer, name) in peers.iter().enumerate() {
            let own = readers.iter().zip(sizes);
            let own: Vec<_> = own
                .filter_map(|(n, (_, cells))| Some((*n, cells.get(peer)?)))
                .collect();
            let points = own
                .iter()
                .filter_map(|(n, cell)| Some((*n, positive(cell)?)));
            let fails = |cell: &Cell| cell.spread.is_none() && cell.figure != ABSENT;
            let label = match own.iter().find(|(_, cell)| fails(cell)) {
                Some((readers, cell)) => format!("{}: {} at {readers}", brief(name), cell.figure),
                None => brief(name),
            };
            let colour = colour(peer);
            let line = points.clone().map(|(n, [_, median, _])| (n, median));
            let key = move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 5)], colour.filled());
            let line = LineSeries::new(line, colour.stroke_width(2)).point_size(4);
            chart.draw_series(line)?.label(label).legend(key);
            chart.draw_series(points.map(|(n, [least, median, most])| {
                ErrorBar::new_vertical(n, least, median, most, colour, 8)
            }))?;
        }
        let mut legend = chart.configure_series_labels();
        legend
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", SIZE));
        legend.draw()?;
        Ok(())
    })
}

/// In pixels; plotters divides it by 1.24 before it writes it.
const SIZE: f64 = 17.0;

fn text(side: HPos) -> TextStyle<'static> {
    let style = ("sans-serif", SIZE).into_font().color(&BLACK);
    style.pos(Pos::new(side, VPos::Center))
}

fn colour(peer: usize) -> RGBColor {
    PEERS[peer % PEERS.len()]
}

/// A peer's name where there is little room.
fn brief(name: &str) -> String {
    match name.char_indices().nth(16) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// The element, with the style sheet's names for its colours. None if plotters
/// does not draw it.
fn svg(size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Option<String> {
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, size).into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    let peers = PEERS.into_iter().enumerate();
    let peers = peers.map(|(at, colour)| (colour, format!("peer-{at}")));
    let others = [(BLACK, "ink".into()), (GRID, "line".into())];
    for (RGBColor(r, g, b), name) in peers.chain(others) {
        let written = format!("\"#{r:02X}{g:02X}{b:02X}\"");
        out = out.replace(&written, &format!("\"var(--{name})\""));
    }
    Some(out)
}
