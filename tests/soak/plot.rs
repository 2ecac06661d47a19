//! The samples as SVG: resident memory, descriptors and threads over time.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::sample::{Sample, Series};

const SIZE: (u32, u32) = (900, 900);

/// Source: M. Okabe and K. Ito, "Color Universal Design", 2008.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x60, 0x60, 0x60),
];

/// Points of a line: of as many samples, the one in the middle is drawn.
const POINTS: usize = 150;

type Panel = (&'static str, fn(&Sample) -> f64);

const PANELS: [Panel; 3] = [
    ("resident memory, MiB", |it| it.resident),
    ("descriptors", |it| it.descriptors as f64),
    ("threads", |it| it.threads as f64),
];

/// A whole SVG document; a line marks the second at which the warm-up was over.
///
/// # Errors
/// What plotters says.
pub fn lines(all: &[Series], warm: f64) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, (name, value)) in area.split_evenly((PANELS.len(), 1)).iter().zip(PANELS) {
            draw(panel, all, warm, name, value)?;
        }
        area.present()?;
    }
    Ok(out)
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    all: &[Series],
    warm: f64,
    name: &str,
    value: fn(&Sample) -> f64,
) -> Result<(), Box<dyn Error>> {
    let samples = || all.iter().flat_map(|series| &series.samples);
    let end = samples().map(|it| it.at).fold(1.0, f64::max) / 60.0;
    let most = samples().map(value).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("minutes")
        .y_desc(name)
        .label_style(("sans-serif", 14))
        .draw()?;
    let warm = [(warm / 60.0, 0.0), (warm / 60.0, most)];
    chart.draw_series([PathElement::new(warm, BLACK.mix(0.4))])?;
    for (series, colour) in all.iter().zip(COLOURS) {
        let step = series.samples.len().div_ceil(POINTS).max(1);
        let points = series.samples.chunks(step).map(|chunk| {
            let mut values: Vec<_> = chunk.iter().map(value).collect();
            values.sort_unstable_by(f64::total_cmp);
            (chunk[chunk.len() / 2].at / 60.0, values[values.len() / 2])
        });
        let key = move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled());
        let line = PathElement::new(points.collect::<Vec<_>>(), colour.stroke_width(2));
        chart.draw_series([line])?.label(series.name).legend(key);
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::UpperRight);
    legend.background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}
