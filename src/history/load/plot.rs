//! The distribution of the latencies as SVG: which part of the requests took no
//! longer than what.

use std::time::Duration;

use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 420);
const LINE: RGBColor = RGBColor(0x00, 0x72, 0xB2);

/// A whole SVG document.
///
/// # Errors
/// No latencies, or what plotters says.
pub fn distribution(latencies: &[Duration]) -> Result<String, Box<dyn std::error::Error>> {
    let mut millis: Vec<f64> = latencies.iter().map(|l| l.as_secs_f64() * 1e3).collect();
    millis.sort_unstable_by(f64::total_cmp);
    let (Some(&first), Some(&last)) = (millis.first(), millis.last()) else {
        return Err("there are no latencies to plot".into());
    };
    let part = |index: usize| (index + 1) as f64 * 100.0 / millis.len() as f64;
    // A thousand points are all that can be told apart.
    let step = millis.len().div_ceil(1000);
    let points = (0..millis.len()).step_by(step).chain([millis.len() - 1]);
    let points = points.map(|index| (millis[index], part(index)));
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let across = (first * 0.9..last * 1.1).log_scale();
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(across, 0.0..100.0)?;
        chart
            .configure_mesh()
            .x_desc("time of a request, ms")
            .y_desc("requests, %")
            .x_label_formatter(&|value| {
                format!("{value:.3}")
                    .trim_end_matches(['0'])
                    .trim_end_matches('.')
                    .to_owned()
            })
            .label_style(("sans-serif", 15))
            .draw()?;
        let line = PathElement::new(points.collect::<Vec<_>>(), LINE.stroke_width(2));
        chart.draw_series([line])?;
        area.present()?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_its_points_and_nothing_makes_none() {
        let latencies: Vec<_> = (1..=5000).map(Duration::from_micros).collect();
        let svg = distribution(&latencies).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("requests, %"));
        assert!(
            svg.contains("<polyline") && svg.len() < 100_000,
            "{}",
            svg.len()
        );
        assert!(distribution(&[Duration::from_millis(1)]).is_ok());
        assert!(distribution(&[]).is_err());
    }
}
