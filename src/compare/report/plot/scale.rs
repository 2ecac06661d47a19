//! An axis for values: linear from 0, or logarithmic.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::Spread;
use crate::compare::report::number;

/// Medians further apart than this leave nothing to see of the lesser ones on a
/// linear axis.
const FAR_APART: f64 = 20.0;

/// Lets a figure place values without knowing which kind of axis it has.
#[derive(Clone, Debug)]
pub struct Scale {
    log: bool,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// One that has room for all of them.
    pub fn new(spreads: &[Spread]) -> Self {
        let positive = spreads.iter().filter(|spread| spread.low > 0.0);
        let least = positive.clone().map(|s| s.median).fold(f64::MAX, f64::min);
        let most = positive.clone().map(|s| s.median).fold(0.0, f64::max);
        let low = positive.map(|s| s.low).fold(f64::MAX, f64::min);
        let high = spreads.iter().map(|s| s.high).fold(0.0, f64::max);
        if most / least > FAR_APART {
            Self::logarithmic(low, high)
        } else {
            Self::linear(high)
        }
    }

    /// A logarithmic one with a tick at each of these, which are ascending and
    /// above 0.
    pub fn of(ticks: Vec<f64>) -> Self {
        let low = ticks.first().copied().unwrap_or(1.0);
        let high = ticks.last().copied().unwrap_or(1.0);
        let pad = (high / low).powf(0.04);
        Self {
            log: true,
            low: low / pad,
            high: high * pad,
            ticks,
        }
    }

    fn linear(high: f64) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = step(high / 4.0);
        let ticks = (0..=4).map(|i| f64::from(i) * step);
        Self {
            log: false,
            low: 0.0,
            high: high * 1.02,
            ticks: ticks.filter(|&tick| tick <= high * 1.02).collect(),
        }
    }

    fn logarithmic(low: f64, high: f64) -> Self {
        // The least bar needs a length too, so the axis begins well below it.
        let first = (low / 1.5).log10().floor();
        let high = high * 1.1;
        let every = ((high.log10() - first) / 6.0).ceil().max(1.0);
        let ticks = (0..=6).map(|i| 10f64.powf(first + f64::from(i) * every));
        Self {
            log: true,
            low: 10f64.powf(first),
            high,
            ticks: ticks.filter(|&tick| tick <= high).collect(),
        }
    }

    /// Where the axis begins.
    pub fn start(&self) -> f64 {
        self.low
    }

    /// The text along the axis: it says if the scale is not what one expects.
    pub fn title(&self, unit: &str) -> String {
        if self.log {
            format!("{unit}, logarithmic scale")
        } else {
            unit.to_owned()
        }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// A value that is off the axis is at the nearer end.
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let value = value.clamp(self.low, self.high);
        let part = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        from + (f64::from(to - from) * part).round() as i32
    }

    /// The same at any number of labels; plotters would draw others as lines
    /// between them.
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.clone()
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        // A number of readers is exact, and may have more than three digits.
        if *value >= 1.0 && (value - value.round()).abs() < value * 1e-9 {
            number::whole(value.round() as u64)
        } else {
            number::short(*value)
        }
    }
}

/// The least of 1, 2, 2.5, 5, 10, 20, ... that is not less.
fn step(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|&s| s >= value).unwrap_or(steps[4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(medians: &[f64]) -> Scale {
        let spread = |&median: &f64| Spread {
            low: median,
            median,
            high: median,
        };
        Scale::new(&medians.iter().map(spread).collect::<Vec<_>>())
    }

    fn labels(scale: &Scale) -> Vec<String> {
        let ticks = scale.ticks.iter();
        ticks.map(|tick| scale.format_ext(tick)).collect()
    }

    #[test]
    fn values_near_each_other_are_on_a_linear_axis_from_zero() {
        let scale = scale(&[30.0, 580.0]);
        assert_eq!(labels(&scale), ["0", "200", "400"]);
        assert_eq!(scale.title("us"), "us");
        assert_eq!(scale.map(&0.0, (100, 200)), 100);
        assert_eq!(scale.map(&1e9, (100, 200)), 200);
    }

    #[test]
    fn values_far_apart_are_on_a_logarithmic_axis_that_says_so() {
        let scale = scale(&[3.0, 910.0]);
        assert_eq!(labels(&scale), ["1", "10", "100", "1,000"]);
        assert_eq!(scale.title("us"), "us, logarithmic scale");
        // Nothing is no place on it, and the least value is not at its start.
        assert_eq!(scale.map(&0.0, (0, 300)), 0);
        assert!(scale.map(&3.0, (0, 300)) > 20);
    }

    #[test]
    fn given_ticks_are_shown_in_full() {
        let scale = Scale::of(vec![1.0, 32.0, 1024.0]);
        assert_eq!(labels(&scale), ["1", "32", "1,024"]);
        assert_eq!(scale.map(&32.0, (0, 1000)), 500);
    }

    #[test]
    fn odd_values_have_a_scale_too() {
        for medians in [&[][..], &[0.0], &[0.0, 5.0], &[1e-9, 1e9]] {
            let scale = scale(medians);
            assert!(scale.low < scale.high);
            assert!(!scale.ticks.is_empty() && scale.ticks.len() <= 7);
            assert!((0..=100).contains(&scale.map(&0.0, (0, 100))));
        }
    }
}
