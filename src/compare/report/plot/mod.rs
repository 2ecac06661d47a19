//! Figures as inline SVG. Its colours are names for the page's style sheet,
//! which gives each a value for light, for dark and for paper.

pub mod bars;
pub mod lines;
mod scale;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::shown::escape;

/// A sample's median between its least and its greatest.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// None of what cannot be drawn.
    pub fn of(samples: &super::Samples) -> Option<Self> {
        let (low, high) = samples.range();
        let median = samples.median();
        let drawable = low.is_finite() && high.is_finite() && low >= 0.0;
        drawable.then_some(Self { low, median, high })
    }
}

/// A colour for each peer; more peers begin again with the first. They are also
/// told apart by their names, so a colour never stands alone.
/// Source: M. Okabe and K. Ito, "Color Universal Design", 2008.
const PEERS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x80, 0x80, 0x80),
];
const INK: RGBColor = RGBColor(0, 0, 0);
const MUTED: RGBColor = RGBColor(0x59, 0x59, 0x59);
const GRID: RGBColor = RGBColor(0xD8, 0xD8, 0xD8);

/// In pixels of the figure.
const TEXT: f64 = 13.0;
const SMALL: f64 = 11.5;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// An SVG element; `description` is for those who do not see it.
fn svg(size: (u32, u32), description: &str, draw: impl FnOnce(&Area) -> Drawn) -> Option<String> {
    let mut out = String::new();
    let area = SVGBackend::with_string(&mut out, size).into_drawing_area();
    let drawn = draw(&area).and_then(|()| area.present());
    drop(area);
    drawn.ok()?;
    let head = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(description));
    Some(out.replacen("<svg ", &head, 1))
}

fn colour(peer: usize) -> RGBColor {
    PEERS[peer % PEERS.len()]
}

fn font(pixels: f64, colour: RGBColor) -> TextStyle<'static> {
    // Plotters divides by this before it writes the size.
    ("sans-serif", pixels * 1.24).into_font().color(&colour)
}

/// One line of text, centred vertically about its place.
fn write(area: &Area, text: &str, at: (i32, i32), style: &TextStyle, anchor: HPos) -> Drawn {
    let style = style.pos(Pos::new(anchor, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))
}

fn stroke(area: &Area, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
    area.draw(&PathElement::new(vec![from, to], style))
}

/// What a text takes at most, for there are no fonts to measure it with.
fn width(text: &str) -> u32 {
    let letters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    letters.saturating_mul(7)
}

/// A peer's name where there is little room.
pub fn brief(name: &str) -> String {
    const MOST: usize = 22;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    let start: String = name.chars().take(MOST - 3).collect();
    start + "..."
}
